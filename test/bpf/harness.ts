import { execFileSync, spawn } from 'node:child_process';
import type { LogRecord, MetricsBatch } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { type Recording, record, testContext } from '../../pipeline/testing.ts';
import receiver from '../../receivers/ebpf/index.ts';
import { probes } from '../../receivers/ebpf/probes.ts';
import { python, waitFor } from '../bed/command.ts';
import { NamedNetns } from '../bed/named-netns.ts';

/**
 * What tests of the lane `bpf` are made of: throw-away network namespaces, and the real receiver with one probe switched on.
 * Needs root and a kernel with BTF.
 */

let serial = 0;

/** A network namespace in which scripts are run. */
export class Netns extends NamedNetns {
  /** Runs a shell script inside and returns its output. Throws when it fails. */
  run(script: string): string {
    return this.exec('bash', '-euc', script);
  }

  /** As {@link run}; failure is fine (a refused connection). */
  try(script: string): string {
    try {
      return this.run(script);
    } catch (error) {
      return String((error as { stdout?: string }).stdout ?? '');
    }
  }

  /** Runs Python inside. */
  python(program: string): string {
    return this.exec(python, '-c', program);
  }

  /** Starts Python in the background; resolves once it printed a line. `stop` or `using` ends it. */
  async start(program: string): Promise<Disposable & { stop(): void; readonly line: string }> {
    const [first, ...rest] = this.enter(python, '-uc', program);
    const child = spawn(first, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (d: Buffer) => resolve(d.toString().trim()));
      child.once('exit', (code) => reject(new Error(`python ended with ${code}`)));
    });
    const stop = () => void child.kill('SIGKILL');
    return { line, stop, [Symbol.dispose]: stop };
  }
}

/** Joins two namespaces: interface `eth0` in each, 10.99.0.1 and .2, fd99::1 and ::2. No IPv6 duplicate detection, no router noise. */
export function connect(a: Netns, b: Netns): void {
  const peer = `v${process.pid}p${serial++}`;
  execFileSync('ip', ['link', 'add', 'eth0', 'netns', a.name, 'type', 'veth', 'peer', 'name', peer]);
  execFileSync('ip', ['link', 'set', peer, 'netns', b.name, 'name', 'eth0']);
  for (const [ns, n] of [
    [a, 1],
    [b, 2],
  ] as const) {
    ns.run(`ip addr add 10.99.0.${n}/24 dev eth0; ip addr add fd99::${n}/64 dev eth0 nodad; ip link set eth0 up`);
  }
}

/** One probe of the real receiver. */
export class ProbeSession implements Disposable {
  readonly context = testContext({ id: 'ebpf' });
  readonly recording: Recording;
  readonly #probe: string;

  private constructor(probe: string, config: Record<string, unknown>) {
    this.#probe = probe;
    const sections = Object.fromEntries(probes.map((p) => [p.name, { enabled: false }]));
    const parsed = receiver.config.parse({ probes: { ...sections, [probe]: { enabled: true, ...config } } });
    this.recording = record(receiver.create(parsed, this.context).run());
  }

  /** Resolves once the probe is attached; rejects with the reason when it is not. */
  static async start(probe: string, config: Record<string, unknown> = {}): Promise<ProbeSession> {
    const session = new ProbeSession(probe, config);
    const { telemetry } = session.context;
    const reason = () =>
      session.recording.error ?? telemetry.failures[0]?.error ?? Object.values(telemetry.absences)[0];
    await until(() => telemetry.read('ring_backlog') !== undefined || reason() !== undefined);
    const why = reason();
    if (why !== undefined) {
      session[Symbol.dispose]();
      throw new Error(`Probe ${probe} did not start: ${why instanceof Error ? why.message : String(why)}`);
    }
    return session;
  }

  /** All events so far, of one namespace when given. Waits until the ring is empty. */
  async events(netns?: Netns): Promise<LogRecord[]> {
    await until(() => this.context.telemetry.read('ring_backlog') === 0);
    // What was read is handed on at the end of its slice.
    await new Promise((resolve) => setImmediate(resolve));
    const all = this.recording.values.flatMap((b) => (b.kind === 'logs' ? b.records : []));
    return netns ? all.filter((r) => r.owner?.netns === netns.inode) : all;
  }

  /** Reads the maps now. */
  collect(): MetricsBatch {
    this.context.clock.advance(15_000);
    const batch = this.recording.values.findLast(
      (b): b is MetricsBatch => b.kind === 'metrics' && b.source === `ebpf/${this.#probe}`,
    );
    if (!batch) throw new Error(`No metrics of ${this.#probe}: ${JSON.stringify(this.context.telemetry.failures)}`);
    return batch;
  }

  /** Sum of a metric's series in a namespace (undefined = the node) whose attributes hold all of `where`. Histograms: their count. */
  sum(metric: string, netns: Netns | undefined, where: Attributes = {}): number {
    let sum = 0;
    for (const s of this.collect().snapshots) {
      if (s.owner?.netns !== netns?.inode) continue;
      for (const d of s.schema.series) {
        if (d.metric.name === metric && Object.entries(where).every(([k, v]) => d.attributes[k] === v))
          sum += s.values[d.offset]!;
      }
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.recording.subscription.unsubscribe();
  }
}

/** Waits for a condition, looking every 2 ms; throws after `ms`. */
export async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  await waitFor(`${condition}`, condition, { timeoutMs: ms, everyMs: 2 });
}
