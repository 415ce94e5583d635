/**
 * The default pipeline beside 50 real pods: `node bench/pods.ts [--pods 50] [--seconds 60] [--scrapes 40]`. Needs root and containerd.
 *
 *  - idle: share of a core and memory over a minute, nobody scraping;
 *  - a scrape: time, first byte and CPU, beside what KubeSkoop's exporter took for the same pods (it collects while the scraper
 *    waits; this agent collects on its own, so that the cost of a collection is shown too).
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Agent } from '../test/bed/agent.ts';
import { type Bed, startBed } from '../test/bed/bed.ts';
import { select } from '../test/bed/exposition.ts';

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '60' },
    scrapes: { type: 'string', default: '40' },
  },
});
const wantedPods = Number(values.pods);
const seconds = Number(values.seconds);
const scrapes = Number(values.scrapes);

/** Measured on KubeSkoop 70355a7 with its ten procfs and netlink probes, 50 pods, the same kernel and 2 cores. */
const kubeskoop = { totalMs: 430, firstByteMs: 427, cpuMs: 560, series: 4420, rssMiB: '82–92' };

/** CPU time of a process, user and system, in ms: fields 14 and 15 of /proc/PID/stat in ticks of 10 ms, so measure long. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

async function startPods(bed: Bed): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < wantedPods) {
      const n = next++;
      await bed.runPod({ name: `pod-${n}`, namespace: `team-${n % 5}`, labels: { app: `app-${n % 7}` } });
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

async function idle(agent: Agent): Promise<{ readonly cpuPercent: number; readonly rssMiB: number }> {
  const before = cpuMs(agent.pid);
  await sleep(seconds * 1000);
  return { cpuPercent: (cpuMs(agent.pid) - before) / (seconds * 10), rssMiB: agent.rssBytes() / 2 ** 20 };
}

async function scrape(
  bed: Bed,
): Promise<{ readonly firstByteMs: number; readonly totalMs: number; readonly bytes: number }> {
  const format = '%{time_starttransfer} %{time_total} %{size_download}';
  const url = 'http://127.0.0.1:9464/metrics';
  const { stdout } = await bed.node.run(['curl', '-sS', '-o', '/dev/null', '-w', format, url]);
  const [first, total, bytes] = stdout.split(' ').map(Number);
  return { firstByteMs: first! * 1000, totalMs: total! * 1000, bytes: bytes! };
}

const bed = await startBed({ name: 'bench' });
try {
  await startPods(bed);
  const agent = await bed.startAgent(readFileSync(`${import.meta.dirname}/../pipeline.yaml`, 'utf8'), { ready: false });
  const opens = 'skoop_tcp_active_opens_total';
  await agent.until(
    'series of all pods',
    (samples) => select(samples, opens).filter((s) => s.labels['k8s_pod_name']).length === wantedPods,
    { timeoutMs: 120_000, everyMs: 1000 },
  );
  const series = (await agent.samples()).length;
  const calm = await idle(agent);
  const before = cpuMs(agent.pid);
  const began = performance.now();
  const seen: Awaited<ReturnType<typeof scrape>>[] = [];
  for (let i = 0; i < scrapes; i++) seen.push(await scrape(bed));
  const elapsedMs = performance.now() - began;
  const scrapeCpuMs = (cpuMs(agent.pid) - before - (calm.cpuPercent / 100) * elapsedMs) / scrapes;

  console.log(`${wantedPods} pods, ${series} series, default pipeline`);
  console.log(
    `idle over ${seconds} s      ${calm.cpuPercent.toFixed(2)} % of a core, ${calm.rssMiB.toFixed(0)} MiB RSS`,
  );
  console.log(
    `a collection (15 s)    ${(calm.cpuPercent * 150).toFixed(0)} ms CPU, everything that is idle work included`,
  );
  const row = (name: string, ours: number, theirs: number) =>
    console.log(`${name.padEnd(22)} ${ours.toFixed(1)} ms   KubeSkoop ${theirs} ms   ${(theirs / ours).toFixed(0)}×`);
  row('scrape, median', median(seen.map((s) => s.totalMs)), kubeskoop.totalMs);
  row('first byte, median', median(seen.map((s) => s.firstByteMs)), kubeskoop.firstByteMs);
  row('CPU of a scrape', scrapeCpuMs, kubeskoop.cpuMs);
  const kibibytes = (median(seen.map((s) => s.bytes)) / 1024).toFixed(0);
  console.log(`KubeSkoop: ${kubeskoop.series} series, ${kubeskoop.rssMiB} MiB RSS; here ${kibibytes} KiB a scrape`);
} finally {
  await bed.stop();
}
