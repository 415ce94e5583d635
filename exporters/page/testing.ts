import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';

/** What a browser does with the page's server, without a browser. Used by tests only. */

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One request, its path as it is given: not tidied up first, as `fetch` would. */
export function ask(
  url: string,
  path: string,
  options: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { port, hostname: bracketed } = new URL(url);
    const hostname = bracketed.replace(/^\[|\]$/g, '');
    const sent = request({ hostname, port, path, agent: false, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
      response.once('error', reject);
    });
    sent.once('error', reject).end();
  });
}

/** An open stream. */
export interface Stream<T> {
  readonly status: number;
  readonly messages: T[];
  /** The first message that `look` likes. */
  until(look: (message: T) => boolean): Promise<T>;
  /** Reads no more, as a viewer that hangs. */
  stall(): void;
  /** Resolves when the other end has cut it off. */
  readonly closed: Promise<void>;
  close(): void;
}

export function openStream<T>(url: string, topic: string): Promise<Stream<T>> {
  const { promise, resolve, reject } = Promise.withResolvers<Stream<T>>();
  const sent: ClientRequest = request(new URL(`/live/${topic}`, url), { agent: false }, (response) => {
    resolve(streamOf<T>(sent, response));
  });
  sent.once('error', reject).end();
  return promise;
}

function streamOf<T>(sent: ClientRequest, response: IncomingMessage): Stream<T> {
  const messages: T[] = [];
  const waiting = new Set<() => void>();
  let rest = '';
  response.setEncoding('utf8').on('data', (text: string) => {
    const events = (rest + text).split('\n\n');
    rest = events.pop()!;
    for (const event of events) if (event.startsWith('data: ')) messages.push(JSON.parse(event.slice(6)) as T);
    for (const look of waiting) look();
  });
  response.on('error', () => {});
  sent.on('error', () => {});
  return {
    status: response.statusCode!,
    messages,
    until: (look) =>
      new Promise((resolve) => {
        const search = () => {
          const found = messages.find(look);
          if (found === undefined) return;
          waiting.delete(search);
          resolve(found);
        };
        waiting.add(search);
        search();
      }),
    stall: () => void response.pause(),
    closed: new Promise((resolve) => response.once('close', () => resolve())),
    close: () => sent.destroy(),
  };
}
