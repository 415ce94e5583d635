/**
 * What the probes add to the kernel's work for a packet: `node bench/impact-probes.ts [--rounds 30] [--ms 200] [--probes dns,listen]`. Needs root and gcc.
 *
 * Both ends of a TCP connection over veth in one thread: requests and answers of one byte, then a stream. No process is switched to, so the CPU time of
 * the thread is what the kernel does for the packets: a request costs least here and the probes weigh most. Each round measures with the probes of
 * the default config attached and without any, the order changing; CPU time, so that what else the machine does matters little. Printed are the mean of the
 * rounds' ratios with its 95 % confidence interval, and the difference in ns. `--probes` attaches some alone.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Kernel } from '../bpf/kernel.ts';
import { systemClock } from '../pipeline/clock.ts';
import { AbsentError } from '../pipeline/errors.ts';
import { testContext } from '../pipeline/testing.ts';
import { ActiveProbe } from '../receivers/ebpf/active-probe.ts';
import type { EbpfConfig } from '../receivers/ebpf/config.ts';
import receiver from '../receivers/ebpf/index.ts';
import { probes } from '../receivers/ebpf/probes.ts';
import { SharedRing } from '../receivers/ebpf/ring.ts';
import { joinByVeth, startNetns } from '../test/bed/netns.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    ms: { type: 'string', default: '200' },
    probes: { type: 'string' },
  },
});
const named = values.probes?.split(',');

const folder = mkdtempSync(join(tmpdir(), 'skl-impact-'));
const traffic = join(folder, 'traffic');
execFileSync('cc', ['-O2', '-o', traffic, join(import.meta.dirname, 'c/impact-traffic.c')]);
await using a = await startNetns('a');
await using b = await startNetns('b');
await joinByVeth(a, b);
const [program = '', ...argv] = a.enter(['taskset', '-c', '1', traffic, 'pair', '192.0.2.2', '7000', b.path]);
const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout });
await once(lines, 'line');

/** CPU ns for a request and its answer; for a MiB of the stream. */
async function measure(): Promise<readonly [request: number, mebibyte: number]> {
  child.stdin.write(`${values.ms}\n`);
  const [line] = (await once(lines, 'line')) as [string];
  const [requests = 0, requestCpu = 0, bytes = 0, streamCpu = 0] = line.split(' ').map(Number);
  return [requestCpu / requests, streamCpu / (bytes / (1 << 20))];
}

const kernel = await Kernel.probe();
const { telemetry, log } = testContext({ id: 'ebpf' });
const config = receiver.config.parse({}) as EbpfConfig;
const ring = new SharedRing(1 << 21);

/** Attaches what is measured. */
function attach(): ActiveProbe[] {
  return probes.flatMap((definition, index) => {
    const own = config.probes[definition.name]!;
    if (named ? !named.includes(definition.name) : !own.enabled) return [];
    try {
      const env = { kernel, telemetry, log, clock: systemClock, ringFd: ring.fd };
      return [new ActiveProbe(definition, { ...own, enabled: true }, index, env)];
    } catch (error) {
      if (error instanceof AbsentError) return [];
      throw error;
    }
  });
}

const measured = { off: [] as (readonly number[])[], on: [] as (readonly number[])[] };
try {
  await measure();
  for (let round = 0; round < Number(values.rounds); round++) {
    const turns = round % 2 === 0 ? (['off', 'on'] as const) : (['on', 'off'] as const);
    for (const turn of turns) {
      const active = turn === 'on' ? attach() : [];
      measured[turn].push(await measure());
      for (const probe of active) probe.close();
    }
  }
} finally {
  child.kill();
  ring.close();
  rmSync(folder, { recursive: true });
}

const mean = (xs: readonly number[]) => xs.reduce((n, x) => n + x, 0) / xs.length;
const median = (xs: readonly number[]) => xs.toSorted((x, y) => x - y)[xs.length >> 1]!;
/** Without the tenth at each end: rounds in which something else had the CPU's caches. */
const trimmed = (xs: readonly number[]) => {
  const cut = Math.floor(xs.length / 10);
  return xs.toSorted((x, y) => x - y).slice(cut, xs.length - cut);
};
console.log(
  `${named?.join(', ') ?? 'Default probes'} against none, ${values.rounds} rounds, load ${loadavg()[0]!.toFixed(1)}\n`,
);
for (const [i, what] of ['a request and its answer', 'a MiB of a stream'].entries()) {
  const off = measured.off.map((m) => m[i]!);
  const on = measured.on.map((m) => m[i]!);
  const ratios = trimmed(on.map((x, r) => x / off[r]! - 1));
  const center = mean(ratios);
  const deviation = Math.sqrt(mean(ratios.map((x) => (x - center) ** 2)) * (ratios.length / (ratios.length - 1)));
  const half = (2 * deviation) / Math.sqrt(ratios.length);
  const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
  console.log(
    `${what.padEnd(26)} ${median(off).toFixed(0).padStart(8)} ns alone, +${percent(center)} (95 %: ${percent(center - half)} to ${percent(center + half)}), ${(median(on) - median(off)).toFixed(0)} ns more`,
  );
}
