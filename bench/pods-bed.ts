/**
 * What the benches with real pods share: a test node with pods, agents in it as they are shipped (from dist/) or from source, and what they cost.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { type Bed, startBed } from '../test/bed/bed.ts';
import { waitFor } from '../test/bed/command.ts';

const repository = `${import.meta.dirname}/..`;

const copy = mkdtempSync(join(tmpdir(), 'skl-bench-dist-'));
process.once('exit', () => rmSync(copy, { recursive: true, force: true }));

/** Builds dist/, which is what the image runs, and takes a copy: nobody's next build is to pull it away under a running agent. */
export function build(): void {
  execFileSync(process.execPath, [`${repository}/tools/build.ts`], { stdio: ['ignore', 'ignore', 'inherit'] });
  cpSync(`${repository}/dist`, `${copy}/dist`, { recursive: true });
  cpSync(`${repository}/package.json`, `${copy}/package.json`);
  symlinkSync(resolve(repository, 'node_modules'), `${copy}/node_modules`);
}

/** A test node with so many pods of one container each, spread over 5 Kubernetes namespaces. */
export async function startPods(count: number): Promise<Bed> {
  const bed = await startBed({ name: 'bench' });
  try {
    let next = 0;
    const worker = async () => {
      while (next < count) {
        const n = next++;
        await bed.runPod({ name: `pod-${n}`, namespace: `team-${n % 5}`, labels: { app: `app-${n % 7}` } });
      }
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    return bed;
  } catch (error) {
    await bed.stop();
    throw error;
  }
}

/** Ports that nobody else in the node has. */
export interface Ports {
  readonly scrape: number;
  readonly telemetry: number;
  readonly health: number;
  readonly page: number;
}

/** `pipeline.yaml` or what was made of it: its ports are changed and nothing else. */
// biome-ignore lint/suspicious/noExplicitAny: a document of any shape.
export type Config = Record<string, any>;

export const defaultPipeline = (): Config => parse(readFileSync(`${repository}/pipeline.yaml`, 'utf8'));

/** The default pipeline with some of its receivers only, and without what is left with no use. */
export function withReceivers(...wanted: readonly string[]): Config {
  const config = defaultPipeline();
  const pick = (ids: readonly string[]) => ids.filter((id) => wanted.includes(id));
  for (const id of Object.keys(config['receivers'])) if (!wanted.includes(id)) delete config['receivers'][id];
  const { pipelines } = config['service'];
  for (const id of Object.keys(pipelines)) {
    pipelines[id].receivers = pick(pipelines[id].receivers);
    if (pipelines[id].receivers.length === 0) delete pipelines[id];
  }
  for (const kind of ['processors', 'exporters']) {
    const used = new Set(Object.values<Config>(pipelines).flatMap((pipeline) => pipeline[kind]));
    for (const id of Object.keys(config[kind])) if (!used.has(id)) delete config[kind][id];
  }
  return config;
}

/** An agent at work in the node. */
export class BenchAgent {
  readonly pid: number;
  readonly ports: Ports;
  readonly #bed: Bed;
  readonly #child: ChildProcess;
  log = '';

  private constructor(bed: Bed, child: ChildProcess, pid: number, ports: Ports) {
    this.#bed = bed;
    this.#child = child;
    this.pid = pid;
    this.ports = ports;
  }

  /**
   * Starts it and waits until it says that it is ready.
   *
   * @param options.from `dist` (JavaScript) or `source` (types stripped at load).
   * @param options.flags for Node.js, as `--cpu-prof`.
   */
  static async start(
    bed: Bed,
    config: Config,
    options: { readonly name: string; readonly from?: 'dist' | 'source'; readonly flags?: readonly string[] },
  ): Promise<BenchAgent> {
    const { name, from = 'dist', flags = [] } = options;
    const port = () => 20_000 + serial++;
    const ports = { scrape: port(), telemetry: port(), health: port(), page: port() };
    const directory = `/run/skl/${name}-${ports.scrape}`;
    mkdirSync(bed.node.path(directory), { recursive: true });
    writeFileSync(bed.node.path(`${directory}/pipeline.yaml`), stringify(withPorts(config, ports)));
    const main = from === 'dist' ? `${copy}/dist/cli/main.js` : `${repository}/cli/main.ts`;
    const warnings = '--disable-warning=ExperimentalWarning';
    const run = [process.execPath, warnings, ...flags, main, 'run', '--config', `${directory}/pipeline.yaml`];
    const argv = bed.node.enter(run);
    const child = spawn(argv[0]!, argv.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, NODE_NAME: bed.node.name, NODE_OPTIONS: '' },
    });
    const pid = await agentPid(child.pid!);
    const agent = new BenchAgent(bed, child, pid, ports);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      agent.log += text;
    });
    await waitFor(`${name} to be ready`, () => agent.#get(`http://localhost:${ports.health}/readyz`), {
      everyMs: 200,
      timeoutMs: 60_000,
    });
    return agent;
  }

  async #get(url: string): Promise<string> {
    const { code, stdout, stderr } = await this.#bed.node.run(['curl', '-sS', '--fail', '--max-time', '20', url]);
    if (code !== 0) throw new Error(stderr.trim());
    return stdout;
  }

  /** The agent's own metrics that begin so, summed by name. */
  async telemetry(prefix: string): Promise<ReadonlyMap<string, number>> {
    const sums = new Map<string, number>();
    for (const line of (await this.#get(`http://localhost:${this.ports.telemetry}/metrics`)).split('\n')) {
      if (!line.startsWith(prefix)) continue;
      const name = line.slice(0, line.search(/[{ ]/));
      sums.set(name, (sums.get(name) ?? 0) + Number(line.slice(line.lastIndexOf(' ') + 1)));
    }
    return sums;
  }

  scrape(): Promise<string> {
    return this.#get(`http://127.0.0.1:${this.ports.scrape}/metrics`);
  }

  /** CPU time of all its threads so far, user and system, ms. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** CPU time by thread name so far, ms: the kernel's own account, exact. Threads that ended are not in it. */
  threadsMs(): Map<string, number> {
    const sums = new Map<string, number>();
    for (const tid of readdirSync(`/proc/${this.pid}/task`)) {
      const name = readFileSync(`/proc/${this.pid}/task/${tid}/comm`, 'utf8').trim();
      const [ran] = readFileSync(`/proc/${this.pid}/task/${tid}/schedstat`, 'utf8').split(' ');
      sums.set(name, (sums.get(name) ?? 0) + Number(ran) / 1e6);
    }
    return sums;
  }

  /** Resident memory, and what of it is its own (anonymous), MiB. */
  memoryMiB(): { readonly rss: number; readonly anonymous: number; readonly peak: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const of = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    return { rss: of('VmRSS'), anonymous: of('RssAnon'), peak: of('VmHWM') };
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    process.kill(this.pid, 'SIGTERM');
    const timer = setTimeout(() => process.kill(this.pid, 'SIGKILL'), 20_000);
    await ended;
    clearTimeout(timer);
  }
}

let serial = 0;

/** nsenter with --pid forks: the agent is its child. */
function agentPid(parent: number): Promise<number> {
  return waitFor('the agent’s process', () => {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  });
}

function withPorts(config: Config, ports: Ports): Config {
  const copy = structuredClone(config);
  if (copy['exporters'].prometheus) copy['exporters'].prometheus.endpoint = `0.0.0.0:${ports.scrape}`;
  if (copy['exporters'].page)
    copy['exporters'].page = { ...copy['exporters'].page, endpoint: `localhost:${ports.page}` };
  copy['service'].telemetry = { metrics: { address: `localhost:${ports.telemetry}` } };
  copy['service'].health = { address: `localhost:${ports.health}` };
  return copy;
}

/** Load average of the last minute, as it belongs beside every figure. */
export const load = (): string => loadavg()[0]!.toFixed(1);

/** Times that the process went to sleep and was woken, all threads. */
export function wakeUps(pid: number): number {
  const of = (tid: string) =>
    /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8'));
  return readdirSync(`/proc/${pid}/task`).reduce((sum, tid) => sum + Number(of(tid)?.[1]), 0);
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
