import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Subscription } from 'rxjs';
import type { Clock } from '../../pipeline/clock.ts';
import { parseRetryAfterMs } from '../../pipeline/http-push/index.ts';
import type { Credentials } from './credentials.ts';
import { asObject, textAt } from './json.ts';
import { LineCutter } from './lines.ts';

/** An answer that is not 200, or a `Status` in the place of an object. */
export class ApiError extends Error {
  /** HTTP status, or the `code` of the `Status`. */
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(message: string, status: number, retryAfterMs?: number) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface GetOptions {
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}

export interface WatchOptions {
  readonly signal: AbortSignal;
  readonly maxLineBytes: number;
  /** Called when the server has taken the request. */
  readonly onOpen: () => void;
  /** Called for each whole line. */
  readonly onLine: (line: string) => void;
  /** Called for each line that was longer. */
  readonly onTooLong: () => void;
  /** The connection is given up when nothing came for so long: a server that is gone says nothing. */
  readonly idleMs: number;
}

const silent = 'The watch was silent for too long';
/** What is read of an answer that is an error. */
const maxErrorBytes = 16 * 1024;

/**
 * GET requests to a Kubernetes API server. One connection for each request: they are few and live for minutes, and each reads the credentials
 * anew. Answers are taken as they come, uncompressed: they are cut into objects on the way.
 */
export class ApiClient {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #userAgent: string;

  constructor(credentials: Credentials, options: { clock: Clock; timeoutMs: number; userAgent: string }) {
    this.#credentials = credentials;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs;
    this.#userAgent = options.userAgent;
  }

  /**
   * Gets a JSON document whole.
   *
   * @throws ApiError for any status but 200. @throws Error when the connection fails, time is up, or the document is too long or no JSON.
   */
  async get(path: string, query: Query, { signal, maxBytes }: GetOptions): Promise<unknown> {
    const guard = new Guard(signal, this.#clock);
    guard.arm(this.#timeoutMs, 'The API server did not answer in time');
    try {
      const response = await this.#request(path, query, guard.signal);
      const body = await readBody(response, maxBytes);
      if (body === undefined) throw new Error(`The answer is longer than ${maxBytes} bytes`);
      return JSON.parse(body);
    } catch (error) {
      throw guard.reason ?? error;
    } finally {
      guard.end();
    }
  }

  /** Follows a stream of lines. Resolves when the server ends it properly; `cut` is true when it did so within a line. */
  async watch(path: string, query: Query, options: WatchOptions): Promise<{ readonly cut: boolean }> {
    const guard = new Guard(options.signal, this.#clock);
    guard.arm(this.#timeoutMs, 'The API server did not answer in time');
    const cutter = new LineCutter(options.maxLineBytes, options.onLine, options.onTooLong);
    try {
      const response = await this.#request(path, query, guard.signal);
      options.onOpen();
      guard.arm(options.idleMs, silent);
      let armedMs = this.#clock.monotonicMs();
      for await (const chunk of response) {
        // Once a second is enough: a busy watch has hundreds of chunks.
        if (this.#clock.monotonicMs() - armedMs >= 1000) {
          armedMs = this.#clock.monotonicMs();
          guard.arm(options.idleMs, silent);
        }
        cutter.push(chunk as Buffer);
        // A response whose end has arrived already is not ended by the signal.
        if (guard.signal.aborted) throw new Error('The watch was given up');
      }
      return { cut: cutter.pending > 0 };
    } catch (error) {
      throw guard.reason ?? error;
    } finally {
      guard.end();
    }
  }

  async #request(path: string, query: Query, signal: AbortSignal): Promise<IncomingMessage> {
    const { server, serverName, insecure } = this.#credentials;
    const { ca, cert, key, token } = this.#credentials.read();
    const target = new URL(server.pathname.replace(/\/$/, '') + path, server);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const common = {
        agent: false,
        signal,
        headers: {
          accept: 'application/json',
          'user-agent': this.#userAgent,
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
      } as const;
      const tls = {
        rejectUnauthorized: !insecure,
        ...(ca && { ca }),
        ...(cert && { cert }),
        ...(key && { key }),
        ...(serverName !== undefined && { servername: serverName }),
      };
      const request =
        target.protocol === 'https:' ? httpsRequest(target, { ...common, ...tls }) : httpRequest(target, common);
      request.once('socket', (socket) => socket.setKeepAlive(true, 30_000));
      request.once('response', resolve);
      request.on('error', reject);
      request.end();
    });
    if (response.statusCode === 200) return response;
    const text = (await readBody(response, maxErrorBytes)) ?? '';
    const status = response.statusCode ?? 0;
    const retryAfterMs = parseRetryAfterMs(response.headers['retry-after'], this.#clock.nowMs());
    throw new ApiError(`${status}: ${reasonOf(text)}`, status, retryAfterMs);
  }
}

/** A deadline that can be moved, and the caller's own signal. */
class Guard {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #clock: Clock;
  readonly #onAbort = () => {
    this.#isOver = true;
    this.#timer?.unsubscribe();
    this.#controller.abort();
  };
  #isOver = false;
  #timer: Subscription | undefined;
  /** Why it was ended, when the deadline did it. */
  reason: Error | undefined;

  constructor(outer: AbortSignal, clock: Clock) {
    this.#outer = outer;
    this.#clock = clock;
    if (outer.aborted) this.#onAbort();
    else outer.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  arm(ms: number, message: string): void {
    this.#timer?.unsubscribe();
    if (this.#isOver) return;
    this.#timer = this.#clock.scheduler.schedule(() => {
      this.reason = new Error(message);
      this.#controller.abort();
    }, ms);
  }

  end(): void {
    this.#outer.removeEventListener('abort', this.#onAbort);
    // Whatever is still open of the connection goes.
    this.#onAbort();
  }
}

/** The text of an answer; undefined when it is longer. */
async function readBody(response: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) return undefined;
    parts.push(chunk as Buffer);
  }
  return Buffer.concat(parts).toString('utf8');
}

const longestReason = 200;

/** What an error answer says: the message of a `Status`, or its first words. */
export function reasonOf(text: string): string {
  let message: string | undefined;
  try {
    message = textAt(asObject(JSON.parse(text)), 'message');
  } catch {
    // A proxy's page, or nothing.
  }
  const plain = (message ?? text).replace(/[^\x20-\x7e]+/g, ' ').trim();
  return plain.slice(0, longestReason) || 'no reason given';
}
