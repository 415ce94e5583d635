/**
 * One scrape of a node with real pods: `node bench/pods-scrape.ts [--pods 50] [--scrapes 40]`. Needs root and containerd.
 *
 * Beside it stand the figures of KubeSkoop's exporter, quoted and not run here: they were measured on a machine like this one (same kernel, 2 cores,
 * the same test bed with 50 pods). Its exporter collects while the scraper waits; this agent collects on its own, every 15 s, so that a scrape is
 * charged with the whole of a collection interval too, which is what a Prometheus that scrapes every 15 s really costs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { waitFor } from '../test/bed/command.ts';
import { BenchAgent, build, defaultPipeline, load, median, startPods } from './pods-bed.ts';

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '50' },
    scrapes: { type: 'string', default: '40' },
    seconds: { type: 'string', default: '30' },
  },
});
const pods = Number(values.pods);
const scrapes = Number(values.scrapes);

/** Quoted: KubeSkoop 70355a7, its ten procfs and netlink probes, 50 pods. */
const kubeskoop = { totalMs: 430, firstByteMs: 427, cpuMs: 560, series: 4420 };

/** CPU time of all threads, ms. */
const cpu = (agent: BenchAgent) => [...agent.threadsMs().values()].reduce((sum, ms) => sum + ms, 0);

build();
const bed = await startPods(pods);
try {
  const agent = await BenchAgent.start(bed, defaultPipeline(), { name: 'scraped' });
  const url = `http://127.0.0.1:${agent.ports.scrape}/metrics`;
  const named = (text: string) => new Set(text.match(/^skoop_tcp_active_opens_total\{.*?k8s_pod_name="[^"]+"/gm));
  await waitFor('series of all pods', async () => named(await agent.scrape()).size === pods, {
    everyMs: 1000,
    timeoutMs: 90_000,
  });
  const series = (await agent.scrape()).split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;

  /** All scrapes in one curl process, kept alive, which is what Prometheus does. */
  const scrape = async (count: number) => {
    const format = '%{time_starttransfer} %{time_total} %{size_download}\\n';
    const one = ['-o', '/dev/null', url];
    const argv = ['curl', '-sS', '-w', format, ...Array.from({ length: count }, () => one).flat()];
    const { stdout } = await bed.node.run(argv);
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number) as [number, number, number]);
  };
  await scrape(20);
  await sleep(20_000);

  const beganMs = performance.now();
  const before = cpu(agent);
  await sleep(Number(values.seconds) * 1000);
  const idlePerMs = (cpu(agent) - before) / (performance.now() - beganMs);

  const seen: [number, number, number][] = [];
  const costs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const [cpuBefore, startedMs] = [cpu(agent), performance.now()];
    seen.push(...(await scrape(Math.ceil(scrapes / 5))));
    costs.push((cpu(agent) - cpuBefore - idlePerMs * (performance.now() - startedMs)) / Math.ceil(scrapes / 5));
    await sleep(2000);
  }
  const ours = {
    totalMs: 1000 * median(seen.map(([, total]) => total)),
    firstByteMs: 1000 * median(seen.map(([first]) => first)),
    cpuMs: median(costs),
    wholeMs: median(costs) + idlePerMs * 15_000,
  };
  console.log(
    `${pods} pods, ${series} series, ${(median(seen.map((s) => s[2])) / 1024).toFixed(0)} KiB; ${seen.length} scrapes; load average ${load()}`,
  );
  console.log('');
  console.log(`| what | skoopline | KubeSkoop (quoted, ${kubeskoop.series} series) | times less | aim |`);
  console.log('|---|---:|---:|---:|---:|');
  const row = (what: string, mine: number, theirs: number, aim: string) =>
    console.log(`| ${what} | ${mine.toFixed(1)} ms | ${theirs} ms | ${(theirs / mine).toFixed(1)} | ${aim} |`);
  row('a scrape, median', ours.totalMs, kubeskoop.totalMs, '≥ 10');
  row('its first byte, median', ours.firstByteMs, kubeskoop.firstByteMs, '');
  row('CPU of a scrape', ours.cpuMs, kubeskoop.cpuMs, '≥ 10');
  row('CPU of a scrape and of all the agent does in 15 s', ours.wholeMs, kubeskoop.cpuMs, '');
  await agent.stop();
} finally {
  await bed.stop();
}
