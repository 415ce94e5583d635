/**
 * A real OpenTelemetry Collector, built by its own builder from otelcol-builder.yaml into an ignored folder named by the hash of that file,
 * and run with a configuration of the test's.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';

const root = new URL('../..', import.meta.url).pathname;
const builderConfig = join(root, 'test/interop/otelcol-builder.yaml');
const builderVersion = 'v0.145.0';

/** Path of the Collector, built when it was not (about five minutes, once), or why there is none. */
export function collectorBinary(): { path: string } | { whyNot: string } {
  const hash = createHash('sha256').update(readFileSync(builderConfig)).digest('hex').slice(0, 12);
  const folder = join(root, `.cache/otelcol-${hash}`);
  const path = join(folder, 'otelcol');
  if (existsSync(path)) return { path };
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
  } catch {
    return { whyNot: 'no Go to build the OpenTelemetry Collector with (install Go 1.25 or later)' };
  }
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  copyFileSync(builderConfig, join(work, 'otelcol-builder.yaml'));
  const log = openSync(join(work, 'build.log'), 'w');
  try {
    const builder = `go.opentelemetry.io/collector/cmd/builder@${builderVersion}`;
    execFileSync('nice', ['go', 'run', builder, '--config', 'otelcol-builder.yaml'], {
      cwd: work,
      stdio: ['ignore', log, log],
    });
  } catch {
    const tail = readFileSync(join(work, 'build.log'), 'utf8').trim().split('\n').slice(-3).join(' | ');
    rmSync(work, { recursive: true, force: true });
    return { whyNot: `the OpenTelemetry Collector does not build: ${tail}` };
  } finally {
    closeSync(log);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(work, folder);
  return { path };
}

/** Ports nobody listens on now. */
export async function freePorts(n: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: n },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.on('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((s) => (s.address() as { port: number }).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

/** Resolves when something takes connections on the port. */
export async function listening(port: number, timeoutMs = 30_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, '127.0.0.1');
      socket.on('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    if (Date.now() > end) throw new Error(`Nothing listens on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export class Collector {
  readonly #binary: string;
  readonly #folder: string;
  readonly #ports: readonly number[];
  #child: ChildProcess | undefined;

  constructor(binary: string, folder: string, config: object, ports: readonly number[]) {
    this.#binary = binary;
    this.#folder = folder;
    this.#ports = ports;
    // JSON is YAML.
    writeFileSync(join(folder, 'collector.yaml'), JSON.stringify(config, null, 1));
  }

  async start(): Promise<this> {
    const log = openSync(join(this.#folder, 'collector.log'), 'a');
    this.#child = spawn(this.#binary, ['--config', join(this.#folder, 'collector.yaml')], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const died = new Promise<never>((_, reject) => {
      this.#child!.once('exit', () => reject(new Error(`The Collector ended:\n${this.log().slice(-2000)}`)));
    });
    died.catch(() => {});
    await Promise.race([Promise.all(this.#ports.map((p) => listening(p))), died]);
    return this;
  }

  log(): string {
    return readFileSync(join(this.#folder, 'collector.log'), 'utf8');
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Ends it and waits until it has; what it took is in its files then. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(late);
  }
}
