import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestTls } from 'node:https';
import { promisify } from 'node:util';
import { constants, gzip, zstdCompress } from 'node:zlib';
import { type ComponentContext, RetryableError } from '../component.ts';
import { AgentError, errnoOf, messageOf } from '../errors.ts';
import { Agent as HttpAgent, request } from '../node-http.ts';
import type { HttpAnswer } from './answer.ts';
import type { HttpPushConfig } from './config.ts';
import { credentialPaths, requestHeaders, tlsMaterial, WatchedFiles } from './credentials.ts';

const gzipAsync = promisify(gzip);
const zstdAsync = promisify(zstdCompress);

/** Posts bodies to a backend: one place for connections, certificates, proxies, compression and what can go wrong with them. */
export interface HttpPush {
  /** Reads certificates and secrets. @throws AgentError when one is missing. */
  start(): void;
  /**
   * Resolves with whatever the backend answered, complete.
   *
   * @throws RetryableError when there was no complete answer: `errorType` is the errno, `timeout` or `aborted`.
   */
  post(request: PostRequest, signal: AbortSignal): Promise<HttpAnswer>;
  close(): void;
}

export interface PostRequest {
  readonly url: URL;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** For bodies that are compressed in their own way; `compression` does not apply then. */
  readonly precompressed?: boolean;
}

export function createHttpPush(config: HttpPushConfig, context: ComponentContext): HttpPush {
  return new Transport(config, context);
}

class Transport implements HttpPush {
  readonly #config: HttpPushConfig;
  readonly #context: ComponentContext;
  #files: WatchedFiles | undefined;
  #filesVersion = -1;
  #headers: Record<string, string> = {};
  readonly #agents = new Map<string, { agent: Agent; bornMs: number }>();

  constructor(config: HttpPushConfig, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
  }

  start(): void {
    const { telemetry, clock } = this.#context;
    this.#files = new WatchedFiles(credentialPaths(this.#config), {
      clock,
      intervalMs: this.#config.tls.reload_interval,
      onError: (error) => telemetry.failed('credentials', error),
    });
    if (this.#proxyEnv() && !hasProxySupport()) {
      throw new AgentError('E_PROXY', 'This version of Node.js has no proxy support.', {
        hint: 'Use Node.js 24.5 or later.',
      });
    }
  }

  async post(post: PostRequest, signal: AbortSignal): Promise<HttpAnswer> {
    if (!this.#files) this.start();
    this.#refresh();
    const encoding = post.precompressed ? 'none' : this.#config.compression;
    const body = await compress(post.body, encoding);
    const headers: Record<string, string> = {
      'user-agent': `skoopline/${this.#context.version}`,
      ...this.#headers,
      'content-type': post.contentType,
      'content-length': String(body.length),
      ...(encoding === 'none' ? {} : { 'content-encoding': encoding }),
    };
    try {
      return await this.#exchange(post.url, headers, body, signal);
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error;
    }
    // A kept-alive connection that the backend had closed while it was idle: nobody has seen the request. The others are likely as stale.
    dropIdle(this.#agent(post.url));
    try {
      return await this.#exchange(post.url, headers, body, signal);
    } catch (error) {
      throw error instanceof StaleConnection ? networkError(post.url, undefined, error.cause) : error;
    }
  }

  close(): void {
    for (const { agent } of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  /** Takes over changed secrets and certificates. */
  #refresh(): void {
    const files = this.#files!;
    files.refresh();
    if (files.version === this.#filesVersion) return;
    if (this.#filesVersion >= 0) this.#context.log.info('Credential files changed and are used from now on.');
    this.#filesVersion = files.version;
    this.#headers = requestHeaders(this.#config, files);
    for (const { agent } of this.#agents.values()) retire(agent);
    this.#agents.clear();
  }

  /** The pool for this scheme; renewed after `connection_max_age`, which is also when names are looked up again. */
  #agent(url: URL): Agent {
    const now = this.#context.clock.monotonicMs();
    const kept = this.#agents.get(url.protocol);
    if (kept && now - kept.bornMs < this.#config.connection_max_age) return kept.agent;
    if (kept) retire(kept.agent);
    const agent = this.#makeAgent(url);
    this.#agents.set(url.protocol, { agent, bornMs: now });
    return agent;
  }

  #makeAgent(url: URL): Agent {
    const { tls } = this.#config;
    const proxyEnv = this.#proxyEnv();
    const options = { keepAlive: true, scheduling: 'lifo' as const, ...(proxyEnv ? { proxyEnv } : {}) };
    if (url.protocol !== 'https:') return new HttpAgent(options);
    const { ca, cert, key } = tlsMaterial(tls, this.#files!);
    return new HttpsAgent({
      ...options,
      rejectUnauthorized: !tls.insecure_skip_verify,
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(tls.server_name_override ? { servername: tls.server_name_override } : {}),
    });
  }

  #proxyEnv(): Record<string, string> | undefined {
    const { proxy_url } = this.#config;
    if (proxy_url !== undefined)
      return proxy_url === '' ? undefined : { HTTP_PROXY: proxy_url, HTTPS_PROXY: proxy_url };
    const { env } = process;
    const out: Record<string, string> = {};
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
      const value = env[name.toLowerCase()] ?? env[name];
      if (value) out[name] = value;
    }
    return out['HTTP_PROXY'] || out['HTTPS_PROXY'] ? out : undefined;
  }

  #exchange(url: URL, headers: Record<string, string>, body: Uint8Array, signal: AbortSignal): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const send = url.protocol === 'https:' ? requestTls : request;
      let req: ClientRequest;
      let why: 'timeout' | 'aborted' | undefined;
      const stop = (reason: 'timeout' | 'aborted') => {
        why = reason;
        req?.destroy(new Error(reason === 'timeout' ? `No answer within ${this.#config.timeout} ms` : 'Aborted'));
      };
      const abort = () => stop('aborted');
      const timer = setTimeout(() => stop('timeout'), this.#config.timeout);
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
      };
      const fail = (error: unknown) => {
        done();
        const stale = why === undefined && req?.reusedSocket && !seen && staleErrnos.has(errnoOf(error) ?? '');
        reject(stale ? new StaleConnection('Stale connection', { cause: error }) : networkError(url, why, error));
      };
      let seen = false;
      try {
        req = send(url, { method: 'POST', agent: this.#agent(url), headers });
      } catch (error) {
        fail(error);
        return;
      }
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
      req.on('error', fail);
      req.on('response', (response) => {
        seen = true;
        readAnswer(response, this.#config.max_response_bytes).then((answer) => {
          done();
          resolve(answer);
        }, fail);
      });
      req.end(body);
    });
  }
}

/** `proxyEnv` of http.Agent came with Node.js 24.5. */
function hasProxySupport(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major > 24 || (major === 24 && minor >= 5);
}

const staleErrnos = new Set(['ECONNRESET', 'EPIPE']);
class StaleConnection extends Error {}

function networkError(url: URL, why: string | undefined, cause: unknown): RetryableError {
  const errorType = why ?? errnoOf(cause) ?? 'network';
  return new RetryableError(`No answer from ${url.host}: ${messageOf(cause)}`, { errorType, cause });
}

/** The answer, its body cut at `limit`; rejects when the connection ends before the answer does. */
function readAnswer(response: IncomingMessage, limit: number): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = () =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk.subarray(0, limit - size));
      size += chunk.length;
      if (size < limit) return;
      // An endless answer is not read to its end; the connection is of no further use.
      finish();
      response.destroy();
    });
    response.on('end', finish);
    response.on('error', reject);
    response.on('aborted', () => reject(Object.assign(new Error('The answer was cut short'), { code: 'ECONNRESET' })));
  });
}

/** Lets an agent's requests finish, but keeps none of its connections. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  dropIdle(agent);
}

function dropIdle(agent: Agent): void {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

/**
 * Off the event loop, in libuv's pool. Level 1: on event data level 6 costs 2.7 times the CPU for a quarter less bytes. A
 * request's output is one chunk, so that the event loop is called once.
 */
function compress(body: Uint8Array, encoding: HttpPushConfig['compression']): Promise<Uint8Array> | Uint8Array {
  if (encoding === 'gzip') return gzipAsync(body, gzipOptions);
  if (encoding === 'zstd') return zstdAsync(body, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return body;
}

const gzipOptions = { level: 1, chunkSize: 128 * 1024 };
