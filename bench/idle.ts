/**
 * What the default pipeline costs while nobody looks: `node bench/idle.ts [--pods 50] [--seconds 60] [--settle 60] [--whole]`. Needs root and containerd.
 *
 * `pipeline.yaml` as shipped (from dist/, only its ports changed) in a node with real pods; beside it, at the same time, the same with one receiver
 * each, and the same from source with types stripped at load. CPU time is the kernel's own account of each thread, so that others on the machine
 * change it little. Probes watch the whole machine: events/s says how much
 * others made happen on it, which is not idle. --whole leaves out the parts; --profile also writes a CPU profile of the pipeline to .output/bench/.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  BenchAgent,
  build,
  type Config,
  defaultPipeline,
  load,
  startPods,
  wakeUps,
  withReceivers,
} from './pods-bed.ts';

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    settle: { type: 'string', default: '60' },
    profile: { type: 'boolean', default: false },
    whole: { type: 'boolean', default: false },
  },
});
const pods = Number(values.pods);
const seconds = Number(values.seconds);

interface Contender {
  readonly name: string;
  readonly config: Config;
  readonly from?: 'dist' | 'source';
  readonly flags?: readonly string[];
}

const profiles = `${import.meta.dirname}/../.output/bench`;
mkdirSync(profiles, { recursive: true });
const whole: Contender = { name: 'default pipeline', config: defaultPipeline() };
const parts: Contender[] = values.whole
  ? []
  : [
      ...Object.keys(defaultPipeline()['receivers']).map((id) => ({ name: `${id} alone`, config: withReceivers(id) })),
      { name: 'default, from source', config: defaultPipeline(), from: 'source' },
    ];
if (values.profile) {
  const flags = ['--cpu-prof', `--cpu-prof-dir=${profiles}`, '--cpu-prof-name=idle.cpuprofile'];
  parts.push({ name: 'default, profiled', config: defaultPipeline(), flags });
}

/** CPU time by thread, ms, and wake-ups, between two looks. */
function watch(agent: BenchAgent) {
  const threads = agent.threadsMs();
  const woken = wakeUps(agent.pid);
  const began = performance.now();
  return () => {
    const elapsedMs = performance.now() - began;
    const spent = new Map([...agent.threadsMs()].map(([name, ms]) => [name, ms - (threads.get(name) ?? 0)]));
    const sum = (wanted: (name: string) => boolean) =>
      [...spent].filter(([name]) => wanted(name)).reduce((total, [, ms]) => total + ms, 0);
    const main = sum((name) => name === 'MainThread' || name === 'node');
    const v8 = sum((name) => name.startsWith('V8'));
    return {
      percent: (100 * sum(() => true)) / elapsedMs,
      mainPercent: (100 * main) / elapsedMs,
      v8Percent: (100 * v8) / elapsedMs,
      wakeUps: (1000 * (wakeUps(agent.pid) - woken)) / elapsedMs,
      ...agent.memoryMiB(),
    };
  };
}

const running: BenchAgent[] = [];
build();
const bed = await startPods(pods);
try {
  const start = async (contender: Contender) => {
    const { name, config, ...how } = contender;
    const agent = await BenchAgent.start(bed, config, { name: name.replaceAll(/\W+/g, '-'), ...how });
    running.push(agent);
    return { name, agent, startCpuMs: agent.cpuMs() };
  };
  const measure = async (contenders: readonly Contender[]) => {
    const started = [];
    for (const contender of contenders) started.push(await start(contender));
    await sleep(Number(values.settle) * 1000);
    const ends = started.map(({ agent }) => watch(agent));
    await sleep(seconds * 1000);
    const watched = ends.map((end) => end());
    const rows = [];
    for (const [i, { name, agent, startCpuMs }] of started.entries()) {
      // Asked last: the first look at the agent's own metrics loads what makes them.
      const own = await agent.telemetry('otelcol_');
      const events = own.get('otelcol_receiver_accepted_log_records_total') ?? 0;
      const perSecond = events / own.get('otelcol_process_uptime_total')!;
      rows.push({ name, startCpuMs, perSecond, ...watched[i]! });
    }
    for (const { agent } of started) await agent.stop();
    return rows;
  };
  const alone = await measure([whole]);
  const loadAlone = load();
  const rows = [...alone, ...(parts.length > 0 ? await measure(parts) : [])];
  console.log(
    `${pods} pods, ${seconds} s after ${values.settle} s of settling; load average ${loadAlone}, then ${load()}`,
  );
  console.log('');
  console.log(
    '| what | CPU, % of a core | JavaScript | V8’s own threads | wake-ups/s | events/s | RSS, MiB | of it its own | peak | CPU to start, ms |',
  );
  console.log('|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|');
  const f = (n: number, digits = 2) => n.toFixed(digits);
  for (const r of rows) {
    const cpu = [f(r.percent), f(r.mainPercent), f(r.v8Percent), f(r.wakeUps, 1), f(r.perSecond, 1)];
    const memory = [f(r.rss, 0), f(r.anonymous, 0), f(r.peak, 0), f(r.startCpuMs, 0)];
    console.log(`| ${[r.name, ...cpu, ...memory].join(' | ')} |`);
  }
  const [first] = alone;
  console.log('');
  console.log(`idle CPU ${f(first!.percent)} % of a core (aim < 0.5), resident ${f(first!.rss, 0)} MiB (aim < 120)`);
} finally {
  await Promise.all(running.map((agent) => agent.stop().catch(() => undefined)));
  await bed.stop();
}
