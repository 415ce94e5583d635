import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import type { ComponentContext } from '../../pipeline/component.ts';
import { splitAddress } from '../../pipeline/config/service.ts';
import { AgentError, errnoOf, messageOf } from '../../pipeline/errors.ts';
import type { Asset } from './assets.ts';
import type { Config } from './config.ts';
import type { Hello } from './messages.ts';
import type { Viewers } from './viewers.ts';
import type { Watch } from './watch.ts';

/** Connections at once: streams, and what a browser opens beside them for the files. */
const connectionsPerViewer = 6;

/**
 * On every answer. Nothing from elsewhere, nothing inline, nothing evaluated, in nobody's frame; and with trusted types, no text of a pod can become
 * markup even by a mistake of the page.
 */
const securityHeaders = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

export interface PageServerOptions {
  readonly config: Config;
  readonly context: ComponentContext;
  readonly viewers: Viewers;
  readonly watch: Watch;
}

/** The HTTP side: files of the page, and a stream for each open page. Reads only: there is nothing that a request could change. */
export class PageServer {
  readonly #config: Config;
  readonly #context: ComponentContext;
  readonly #viewers: Viewers;
  readonly #watch: Watch;
  readonly #hosts: ReadonlySet<string>;
  #servers: readonly Server[] = [];
  #assets: Promise<ReadonlyMap<string, Asset>> | undefined;

  constructor({ config, context, viewers, watch }: PageServerOptions) {
    this.#config = config;
    this.#context = context;
    this.#viewers = viewers;
    this.#watch = watch;
    this.#hosts = new Set(['localhost', ...config.allowed_hosts.map((h) => h.toLowerCase())]);
  }

  /** `http://127.0.0.1:9466`; undefined while nothing is served. */
  get url(): string | undefined {
    const bound = this.#servers[0]?.address() as AddressInfo | null | undefined;
    if (!bound) return undefined;
    return `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
  }

  /** @throws AgentError when the address cannot be listened on. */
  async start(): Promise<void> {
    const { endpoint } = this.#config;
    const { host, port } = splitAddress(endpoint);
    const first = await listen(this.#make(), host === 'localhost' ? '127.0.0.1' : host, port, endpoint);
    this.#servers = [first];
    if (host !== 'localhost') return;
    // Browsers ask at ::1 first. A machine without IPv6 has one address less.
    const bound = (first.address() as AddressInfo).port;
    const second = await listen(this.#make(), '::1', bound, endpoint).catch(() => undefined);
    if (second) this.#servers = [first, second];
  }

  #make(): Server {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (request, response) => {
      request.resume();
      this.#answer(request, response).catch((error) => {
        this.#context.telemetry.failed('request', error);
        response.destroy();
      });
    });
    server.maxConnections = this.#config.max_viewers * connectionsPerViewer;
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy());
    return server;
  }

  async stop(): Promise<void> {
    const servers = this.#servers;
    this.#servers = [];
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#viewers.close();
    for (const server of servers) server.closeAllConnections();
    await Promise.all(closed);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    const host = hostOf(request.headers.host);
    if (host === undefined || !(isIP(host) || this.#hosts.has(host))) {
      return plain(response, 421, `This page is not ${host ?? 'that'}. Add the name to allowed_hosts if it should be.`);
    }
    // A browser says so itself when another site makes the request.
    if (!['same-origin', 'none', undefined].includes(request.headers['sec-fetch-site'] as string | undefined)) {
      return plain(response, 403, 'Not for other sites.');
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return plain(response, 405, 'Only GET and HEAD.');
    }
    const url = URL.parse(request.url ?? '/', 'http://page');
    if (!url) return plain(response, 400, 'That is no address.');
    if (url.pathname.startsWith('/live/')) return this.#live(url, request, response);
    return this.#file(url.pathname, request, response);
  }

  async #file(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#assets ??= import('./assets.ts').then(({ loadAssets }) => loadAssets());
    let assets: ReadonlyMap<string, Asset>;
    try {
      assets = await this.#assets;
    } catch (error) {
      this.#assets = undefined;
      this.#context.telemetry.failed('page files', error);
      return plain(response, 503, `The files of the page cannot be read: ${messageOf(error)}`);
    }
    const asset = assets.get(path === '/' ? '/index.html' : path);
    if (!asset) return plain(response, 404, 'Not here.');
    response.setHeader('etag', asset.etag);
    response.setHeader('cache-control', 'no-cache');
    if (request.headers['if-none-match'] === asset.etag) {
      response.writeHead(304);
      response.end();
      return;
    }
    response.writeHead(200, { 'content-type': asset.type, 'content-length': asset.body.length });
    response.end(request.method === 'HEAD' ? undefined : asset.body);
  }

  async #live(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { topicOf } = await import('./topics.ts');
    await this.#watch.ready();
    const topic = topicOf(url, { service: this.#context.service, view: this.#watch.view });
    if (!topic) return plain(response, 404, 'Not here.');
    if (this.#viewers.size >= this.#config.max_viewers) {
      this.#viewers.refuse('too_many');
      response.setHeader('retry-after', '10');
      return plain(response, 503, `${this.#viewers.size} pages are open already, which is max_viewers.`);
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    if (request.method === 'HEAD' || response.destroyed) {
      response.end();
      return;
    }
    const { node, version } = this.#context;
    const hello: Hello = { node: node.name, version, intervalMs: this.#config.interval };
    this.#viewers.add(topic.name, topic.make, response, hello);
  }
}

/** Host name of a Host header, without port and brackets; undefined when there is none or it is no host. */
export function hostOf(header: string | undefined): string | undefined {
  const m = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(header ?? '');
  return (m?.[1] ?? m?.[2])?.toLowerCase();
}

function plain(response: ServerResponse, status: number, text: string): void {
  const body = `${text}\n`;
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

function listen(server: Server, host: string | undefined, port: number, endpoint: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      const why = errnoOf(error) === 'EADDRINUSE' ? 'the address is in use' : messageOf(error);
      const hint = 'Set another `endpoint`, or stop what listens there.';
      reject(new AgentError('E_LISTEN', `Cannot serve the page on ${endpoint}: ${why}.`, { cause: error, hint }));
    };
    server.once('error', failed);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', failed);
      resolve(server);
    });
  });
}
