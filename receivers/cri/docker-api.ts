import type { IncomingMessage } from 'node:http';
import { Observable } from 'rxjs';
import { request } from '../../pipeline/node-http.ts';

/** As for CRI: an answer larger than this is not from an engine that means well. */
const maxBodyBytes = 16 * 1024 * 1024;

/** The few calls of the Docker Engine API (v1.24 and later) that are made, over its unix socket. Answers are unchecked JSON. */
export class DockerApi {
  readonly #socketPath: string;
  readonly #timeoutMs: number;

  constructor(socketPath: string, timeoutMs: number) {
    this.#socketPath = socketPath;
    this.#timeoutMs = timeoutMs;
  }

  /** One GET. Rejects on any status but 200, on a deadline, and on a body that is too large or not JSON. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]);
    const response = await this.#open(path, deadline);
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response) {
      text += chunk;
      if (text.length > maxBodyBytes) {
        response.destroy();
        throw new Error(`Docker answered more than ${maxBodyBytes} bytes to ${path}`);
      }
    }
    if (response.statusCode !== 200) throw new Error(`Docker answered ${response.statusCode} to ${path}`);
    return JSON.parse(text);
  }

  /** The event stream of containers; each chunk is a reason to look again. Ends and errors as the connection does. */
  events(): Observable<string> {
    return new Observable((subscriber) => {
      const stop = new AbortController();
      const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['start', 'die', 'destroy'] }));
      this.#open(`/events?filters=${filters}`, stop.signal)
        .then((response) => {
          if (response.statusCode !== 200) throw new Error(`Docker answered ${response.statusCode} to /events`);
          response.on('data', () => subscriber.next('docker'));
          response.on('error', (error) => subscriber.error(error));
          response.on('end', () => subscriber.complete());
        })
        .catch((error) => subscriber.error(error));
      return () => stop.abort();
    });
  }

  #open(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      request({ socketPath: this.#socketPath, path, signal, agent: false, headers: { host: 'docker' } }, resolve)
        .on('error', reject)
        .end();
    });
  }
}
