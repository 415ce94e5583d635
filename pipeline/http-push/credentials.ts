import { readFileSync } from 'node:fs';
import type { Clock } from '../clock.ts';
import { AgentError } from '../errors.ts';
import type { AuthConfig, HttpPushConfig, TlsConfig } from './config.ts';

/** Certificates as Node's tls and grpc-js take them. */
export interface TlsMaterial {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
}

/**
 * Files that are read at start, where failing stops the agent, and again at most once an interval, where a failure keeps what was
 * read before. They are compared by content: a mounted Secret changes by swapping a symlink, which moves no modification time.
 */
export class WatchedFiles {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #contents = new Map<string, Buffer>();
  #checkedMs: number;
  /** Counts changes; a consumer rebuilds what it derived when this moved. */
  version = 0;

  /** @throws AgentError when a file cannot be read. */
  constructor(paths: readonly string[], options: { clock: Clock; intervalMs: number; onError: (e: unknown) => void }) {
    this.#clock = options.clock;
    this.#intervalMs = options.intervalMs;
    this.#onError = options.onError;
    this.#checkedMs = options.clock.monotonicMs();
    for (const path of paths) {
      try {
        this.#contents.set(path, readFileSync(path));
      } catch (cause) {
        throw new AgentError('E_FILE', `Cannot read ${path}.`, { cause });
      }
    }
  }

  /** Content of a file named at construction. */
  get(path: string): Buffer {
    return this.#contents.get(path)!;
  }

  /** Looks at the files again when it is time. */
  refresh(): void {
    const now = this.#clock.monotonicMs();
    if (this.#contents.size === 0 || now - this.#checkedMs < this.#intervalMs) return;
    this.#checkedMs = now;
    let changed = false;
    try {
      const fresh = [...this.#contents.keys()].map((path) => [path, readFileSync(path)] as const);
      for (const [path, content] of fresh) {
        if (content.equals(this.#contents.get(path)!)) continue;
        this.#contents.set(path, content);
        changed = true;
      }
    } catch (error) {
      this.#onError(error);
    }
    if (changed) this.version++;
  }
}

/** The files a config names. */
export function credentialPaths(config: Pick<HttpPushConfig, 'auth' | 'tls' | 'header_files'>): string[] {
  const { tls, auth } = config;
  const named = [tls.ca_file, tls.cert_file, tls.key_file, auth.bearer?.token_file, auth.basic?.password_file];
  return [...named, ...Object.values(config.header_files)].filter((p) => p !== undefined);
}

export function tlsMaterial(tls: TlsConfig, files: WatchedFiles): TlsMaterial {
  const read = (path: string | undefined) => (path === undefined ? undefined : files.get(path));
  return { ca: read(tls.ca_file), cert: read(tls.cert_file), key: read(tls.key_file) };
}

/** Headers of each request: configured ones, ones from files, Authorization. Names in lower case. */
export function requestHeaders(
  config: Pick<HttpPushConfig, 'auth' | 'headers' | 'header_files'>,
  files: WatchedFiles,
): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(config.headers)) out[name.toLowerCase()] = value;
  for (const [name, path] of Object.entries(config.header_files)) {
    out[name.toLowerCase()] = files.get(path).toString().trim();
  }
  const authorization = authorizationOf(config.auth, files);
  if (authorization !== undefined) out['authorization'] = authorization;
  return out;
}

function authorizationOf({ bearer, basic }: AuthConfig, files: WatchedFiles): string | undefined {
  const secret = (value: string | undefined, path: string | undefined) =>
    value ?? (path === undefined ? '' : files.get(path).toString().trim());
  if (bearer) return `Bearer ${secret(bearer.token, bearer.token_file)}`;
  if (!basic) return undefined;
  const pair = `${basic.username}:${secret(basic.password, basic.password_file)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}
