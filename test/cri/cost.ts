/**
 * What the identity of a node costs: `node test/cri/cost.ts [sandboxes...]`. The fake runtime runs in a process of its own, so that the
 * CPU time is the client's. Prints one line for each kind of round.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { systemClock } from '../../pipeline/clock.ts';
import { testContext } from '../../pipeline/testing.ts';
import { config } from '../../receivers/cri/config.ts';
import { CriSource } from '../../receivers/cri/cri-source.ts';
import { containerdPod, FakeRuntime } from './fake-runtime.ts';

if (process.argv[2] === 'serve') {
  const runtime = new FakeRuntime();
  await runtime.start();
  runtime.pods = Array.from({ length: Number(process.argv[3]) }, (_, i) => realisticPod(i + 1));
  process.send?.(runtime.path);
  process.once('disconnect', () => runtime.close());
} else {
  const sizes = process.argv.slice(2).map(Number);
  for (const n of sizes.length > 0 ? sizes : [50, 200]) await measure(n);
}

/** Verbose info of containerd 1.6 is about 9 kB a sandbox. */
function realisticPod(n: number) {
  const pod = containerdPod(n);
  const info = JSON.parse(pod.info?.['info'] ?? '{}');
  return { ...pod, info: { info: JSON.stringify({ ...info, config: { padding: 'x'.repeat(8500) } }) } };
}

async function measure(n: number): Promise<void> {
  const server = fork(import.meta.filename, ['serve', String(n)]);
  const [path] = (await once(server, 'message')) as [string];
  const door = {
    ofPath: (p: string) => 4026532000 + p.length,
    ofPid: () => undefined,
    cookieOf: () => undefined,
    ofPodUid: () => undefined,
    host: () => 1,
  };
  const context = { ...testContext(), clock: systemClock };
  const settings = config.parse({});
  const open = () => new CriSource({ socketPath: path, config: settings, context, door });
  const signal = AbortSignal.timeout(120_000);
  const warm = open();
  for (let i = 0; i < 20; i++) await warm.list(signal);

  const first: Cost[] = [];
  for (let i = 0; i < 15; i++) {
    const source = open();
    first.push(await cost(() => source.list(signal)));
    source.close();
  }
  const steady: Cost[] = [];
  for (let i = 0; i < 100; i++) steady.push(await cost(() => warm.list(signal)));
  warm.close();
  server.disconnect();
  report(`${n} sandboxes, first list (${n} status calls)`, first);
  report(`${n} sandboxes, steady list (no status call)`, steady);
}

interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function cost(work: () => Promise<unknown>): Promise<Cost> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const wallMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

function report(what: string, costs: readonly Cost[]): void {
  const at = (values: readonly number[], q: number) =>
    [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * q)]!;
  const wall = costs.map((c) => c.wallMs);
  const cpu = costs.reduce((sum, c) => sum + c.cpuMs, 0) / costs.length;
  const text = [
    `p50 ${at(wall, 0.5).toFixed(1)} ms`,
    `p99 ${at(wall, 0.99).toFixed(1)} ms`,
    `CPU ${cpu.toFixed(1)} ms`,
  ];
  console.log(`${what}: ${text.join(', ')}`);
}
