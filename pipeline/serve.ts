import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { splitAddress } from './config/service.ts';
import { AgentError, errnoOf, messageOf } from './errors.ts';
import { createServer } from './node-http.ts';

/** An answer to GET (HEAD gets the same without the body). */
export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface Served {
  /** `127.0.0.1:8888`: the address as it came to be, with port 0 resolved. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves a few small pages over HTTP.
 *
 * @throws AgentError with code E_LISTEN, in one sentence that names the address and what to do.
 */
export async function serve(
  address: string,
  what: string,
  pages: Readonly<Record<string, () => Page | Promise<Page>>>,
): Promise<Served> {
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 65_000 },
    (request, response) => {
      const path = (request.url ?? '/').split('?')[0]!;
      const send = ({ status, type, body }: Page) => {
        const bytes = Buffer.from(body);
        response.writeHead(status, {
          'content-type': type,
          'content-length': bytes.length,
          'cache-control': 'no-store',
        });
        response.end(request.method === 'HEAD' ? undefined : bytes);
      };
      request.resume();
      if (request.method !== 'GET' && request.method !== 'HEAD') return send(plain(405, 'Only GET and HEAD.\n'));
      const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
      if (!page) return send(plain(404, `Not here. There is: ${Object.keys(pages).join(' ')}\n`));
      void (async () => page())().then(send, (error) => send(plain(503, `${messageOf(error)}\n`)));
    },
  );
  server.on('clientError', (_error, socket) => socket.destroy());
  await listen(server, address, what);
  const bound = server.address() as AddressInfo;
  return {
    address: bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function plain(status: number, body: string): Page {
  return { status, type: 'text/plain; charset=utf-8', body };
}

function listen(server: Server, address: string, what: string): Promise<void> {
  const { host, port } = splitAddress(address);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      const why = errnoOf(error) === 'EADDRINUSE' ? 'the address is in use' : messageOf(error);
      const hint = 'Choose another address, or stop what listens there.';
      reject(new AgentError('E_LISTEN', `Cannot serve ${what} on ${address}: ${why}.`, { hint, cause: error }));
    });
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => resolve());
  });
}
