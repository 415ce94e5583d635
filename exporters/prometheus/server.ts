import { chmod, lstat, unlink } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AgentError, errnoOf, messageOf } from '../../pipeline/errors.ts';
import { createServer } from '../../pipeline/node-http.ts';
import { BasicAuth } from './auth.ts';
import type { Config } from './config.ts';
import { type Endpoint, parseEndpoint } from './config.ts';
import { clientCertificateOk, readTlsFiles, tlsOptions } from './tls.ts';

/** What the server needs of the rest. */
export interface ServerHooks {
  /** Answers a scrape (GET or HEAD of the metrics path, already let in). Must end the response. */
  scrape(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** A request was turned away. */
  refused(reason: 'busy' | 'unauthorized' | 'method' | 'path'): void;
  /** Certificates were read again: `undefined`, or could not be. */
  reloaded(error: unknown): void;
}

const certificateCheckMs = 10_000;
/** Connections at once, idle ones included: more than any number of Prometheus servers, far less than file descriptors. */
const maxConnections = 256;

/**
 * The HTTP side: listens on TCP or a unix socket, with TLS and basic auth when asked, and bounds everything a peer can do to it.
 */
export class MetricsServer {
  readonly #config: Config;
  readonly #hooks: ServerHooks;
  readonly #auth: BasicAuth;
  #server: Server | SecureServer | undefined;
  #tlsKey = '';
  #timer: NodeJS.Timeout | undefined;
  #inFlight = 0;

  constructor(config: Config, hooks: ServerHooks) {
    this.#config = config;
    this.#hooks = hooks;
    this.#auth = new BasicAuth(config.basic_auth_users);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Port in use, for `:0`. Undefined on unix sockets and before start. */
  get port(): number | undefined {
    const address = this.#server?.address();
    return address && typeof address === 'object' ? address.port : undefined;
  }

  /** @throws AgentError when the address cannot be listened on or a TLS file is no good. */
  async start(): Promise<void> {
    const endpoint = parseEndpoint(this.#config.endpoint)!;
    const server = await this.#create();
    server.headersTimeout = 5000;
    server.requestTimeout = 10_000;
    // Prometheus keeps its connection between scrapes: longer than any usual interval.
    server.keepAliveTimeout = 120_000;
    server.maxConnections = maxConnections;
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy());
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      // What goes wrong with one peer is that peer's: the response is cut, nothing else.
      this.#answer(request, response).catch(() => response.destroy());
    });
    if ('socket' in endpoint) await removeStaleSocket(endpoint.socket);
    await listen(server, endpoint, this.#config.endpoint);
    if ('socket' in endpoint) await chmod(endpoint.socket, 0o660);
    this.#server = server;
    if (this.#config.tls_server_config) {
      this.#timer = setInterval(() => void this.#reloadCertificates(), certificateCheckMs);
      this.#timer.unref();
    }
  }

  /** Stops listening, lets running scrapes end until `signal` aborts, then cuts them. */
  async stop(signal: AbortSignal): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    clearInterval(this.#timer);
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const cut = () => server.closeAllConnections();
    if (signal.aborted) cut();
    signal.addEventListener('abort', cut, { once: true });
    await closed;
    signal.removeEventListener('abort', cut);
  }

  async #create(): Promise<Server | SecureServer> {
    const { tls_server_config: tls } = this.#config;
    if (!tls) return createServer();
    const files = await readTlsFiles(tls);
    this.#tlsKey = files.key;
    try {
      return createSecureServer({ ...tlsOptions(tls), ...files.options, handshakeTimeout: 10_000 });
    } catch (error) {
      throw new AgentError('E_TLS_FILE', `The certificate or key cannot be used: ${messageOf(error)}.`, {
        cause: error,
      });
    }
  }

  /** Takes over changed certificate files for new connections; keeps the old ones when the new are no good. */
  async #reloadCertificates(): Promise<void> {
    const { tls_server_config: tls } = this.#config;
    const server = this.#server;
    if (!tls || !server || !('setSecureContext' in server)) return;
    try {
      const files = await readTlsFiles(tls);
      if (files.key === this.#tlsKey) return;
      server.setSecureContext({ ...tlsOptions(tls), ...files.options });
      this.#tlsKey = files.key;
      this.#hooks.reloaded(undefined);
    } catch (error) {
      this.#hooks.reloaded(error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(this.#config.http_server_config.headers))
      response.setHeader(name, value);
    const { tls_server_config: tls } = this.#config;
    if (tls && !clientCertificateOk(tls, request.socket as TLSSocket)) {
      return this.#refuse(response, 'unauthorized', 401, 'A client certificate is needed.');
    }
    const verdict = await this.#auth.judge(request.headers.authorization);
    if (verdict === 'busy') {
      response.setHeader('Retry-After', '1');
      return this.#refuse(response, 'busy', 503, 'Too many passwords are being checked.');
    }
    if (verdict === 'denied') {
      response.setHeader('WWW-Authenticate', 'Basic realm="skoopline"');
      return this.#refuse(response, 'unauthorized', 401, 'Unauthorized.');
    }
    await this.#route(request, response);
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').split('?', 1)[0];
    if (path !== this.#config.path && path !== '/') return this.#refuse(response, 'path', 404, 'Not found.');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return this.#refuse(response, 'method', 405, 'Only GET and HEAD.');
    }
    if (path !== this.#config.path)
      return send(response, 200, 'text/html; charset=utf-8', indexPage(this.#config.path));
    if (this.#inFlight >= this.#config.max_requests) {
      response.setHeader('Retry-After', '5');
      return this.#refuse(response, 'busy', 503, `${this.#inFlight} scrapes are being served already.`);
    }
    this.#inFlight++;
    try {
      await this.#hooks.scrape(request, response);
    } finally {
      this.#inFlight--;
    }
  }

  #refuse(response: ServerResponse, reason: Parameters<ServerHooks['refused']>[0], status: number, text: string): void {
    this.#hooks.refused(reason);
    send(response, status, 'text/plain; charset=utf-8', `${text}\n`);
  }
}

export function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

function indexPage(path: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>skoopline</title></head>
<body><h1>skoopline</h1><p>Pod networking of this node, for Prometheus.</p><p><a href="${path}">Metrics</a></p></body></html>
`;
}

/** A socket file that an agent which was killed left behind is removed; one that somebody answers on, or any other file, is not. */
async function removeStaleSocket(path: string): Promise<void> {
  let found: Awaited<ReturnType<typeof lstat>>;
  try {
    found = await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  if (!found.isSocket()) throw new AgentError('E_LISTEN', `${path} exists and is no socket.`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => resolve(true)).once('error', () => resolve(false));
    probe.once('close', () => probe.destroy());
    probe.once('connect', () => probe.end());
  });
  if (alive) throw new AgentError('E_LISTEN', `Another process listens on ${path}.`);
  await unlink(path);
}

async function listen(server: Server | SecureServer, endpoint: Endpoint, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error) => {
      const hint = errnoOf(error) === 'EADDRINUSE' ? 'Set another `endpoint`, or stop what listens there.' : undefined;
      reject(
        new AgentError('E_LISTEN', `Cannot listen on ${text}: ${messageOf(error)}.`, {
          cause: error,
          ...(hint !== undefined && { hint }),
        }),
      );
    };
    server.once('error', failed);
    const done = () => {
      server.off('error', failed);
      resolve();
    };
    if ('socket' in endpoint) server.listen(endpoint.socket, done);
    else if (endpoint.host === undefined) server.listen(endpoint.port, done);
    else server.listen(endpoint.port, endpoint.host, done);
  });
}
