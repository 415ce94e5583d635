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
import { GiveUp, waitFor } from '../bed/command.ts';
import type { TestNode } from '../bed/node.ts';

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

/**
 * Ports nobody listens on now, from below those that the kernel gives to connections (net.ipv4.ip_local_port_range, 32768 on): what is killed finds
 * its port again, and a client that tries meanwhile cannot connect to itself.
 */
export async function freePorts(n: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < n) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Whether something takes connections on the port of this machine's loopback. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** The same in a test node. */
async function isOpenIn(node: TestNode, port: number): Promise<boolean> {
  const { code } = await node.run(['bash', '-c', `: < /dev/tcp/127.0.0.1/${port}`]);
  return code === 0;
}

/** A Collector with a configuration of its own, in a folder of its own; started and ended as often as wanted. */
export class Collector {
  readonly #binary: string;
  readonly #folder: string;
  readonly #ports: readonly number[];
  readonly #node: TestNode | undefined;
  #child: ChildProcess | undefined;

  /**
   * @param ports those it listens on, by its configuration: it has started when all of them take connections.
   * @param node where it runs; absent = on this machine.
   */
  constructor(binary: string, folder: string, config: object, ports: readonly number[], node?: TestNode) {
    this.#binary = binary;
    this.#folder = folder;
    this.#ports = ports;
    this.#node = node;
    // JSON is YAML.
    writeFileSync(join(folder, 'collector.yaml'), JSON.stringify(config, null, 1));
  }

  async start(): Promise<this> {
    const log = openSync(join(this.#folder, 'collector.log'), 'a');
    const run = [this.#binary, '--config', join(this.#folder, 'collector.yaml')];
    const argv = this.#node?.enter(run) ?? run;
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', log, log] });
    this.#child = child;
    closeSync(log);
    const node = this.#node;
    const look = async () => {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new GiveUp(`The Collector ended:\n${this.log().slice(-2000)}`);
      const open = await Promise.all(this.#ports.map((p) => (node ? isOpenIn(node, p) : isOpen(p))));
      return open.every(Boolean);
    };
    await waitFor(`the Collector to listen on ${this.#ports.join(', ')}`, look);
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
    const child = this.#running();
    if (!child) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(late);
  }

  /** Ends it at once, as the kernel does for want of memory. */
  async kill(): Promise<void> {
    const child = this.#running();
    if (!child) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  #running(): ChildProcess | undefined {
    const child = this.#child;
    this.#child = undefined;
    return child && child.exitCode === null && child.signalCode === null ? child : undefined;
  }
}
