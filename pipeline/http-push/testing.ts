import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';

/** A backend for tests of push exporters: records what it got, and answers, or fails to, as told. */

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Decompressed. */
  readonly body: Buffer;
  /** Port of the client's end: tells connections apart. */
  readonly port: number;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  /** Cut the connection: before the answer's head, or in the middle of its body. */
  readonly cut?: 'before' | 'body';
  /** Never answer. */
  readonly hang?: boolean;
  /** Wait this long, ms. */
  readonly delayMs?: number;
  /** Called when the whole answer was handed to the system. */
  readonly sent?: () => void;
}

export class Backend {
  readonly received: Received[] = [];
  /** False = `received` stays empty, for tests of many requests. */
  keep = true;
  #requests = 0;
  /** Decides each answer; 200 with an empty body when it returns nothing. */
  reply: (request: Received, n: number) => Reply | undefined = () => undefined;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  readonly #scheme: string;

  constructor(tls?: ServerOptions) {
    this.#scheme = tls ? 'https' : 'http';
    const handle = (req: IncomingMessage, res: ServerResponse) => void this.#handle(req, res);
    this.#server = tls ? createTlsServer(tls, handle) : createServer(handle);
    this.#server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `${this.#scheme}://localhost:${this.#port}`;
  }

  /** Number of connections open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.listen(port, 'localhost', resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Cuts every connection, as a backend that crashes does. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of req) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const request = {
      method: req.method ?? '',
      path: req.url ?? '',
      headers: req.headers,
      body: decompress(Buffer.concat(chunks), req.headers['content-encoding']),
      port: req.socket.remotePort ?? 0,
    };
    if (this.keep) this.received.push(request);
    const reply = this.reply(request, ++this.#requests) ?? {};
    if (reply.hang) return;
    if (reply.delayMs) await new Promise((resolve) => setTimeout(resolve, reply.delayMs));
    answer(req, res, reply);
  }
}

function answer(req: IncomingMessage, res: ServerResponse, reply: Reply): void {
  if (reply.cut === 'before') {
    req.socket.destroy();
    return;
  }
  const body = Buffer.from(reply.body ?? '');
  if (reply.cut === 'body') {
    res.writeHead(reply.status ?? 200, { ...reply.headers, 'content-length': body.length + 100 });
    res.write(body.length > 0 ? body : ' ', () => req.socket.destroy());
    return;
  }
  res.writeHead(reply.status ?? 200, { 'content-length': body.length, ...reply.headers });
  res.end(body, reply.sent);
}

function decompress(body: Buffer, encoding: string | undefined): Buffer {
  if (encoding === 'gzip') return gunzipSync(body);
  if (encoding === 'zstd') return zstdDecompressSync(body);
  return body;
}
