/**
 * What the agent takes away from the traffic it watches: `node bench/impact.ts [--rounds 11] [--seconds 1]`. Needs root.
 *
 * Two network namespaces joined by veth; one TCP connection of requests and answers of one byte, one bulk stream. Each round measures with the default
 * pipeline running (all its probes attached) and without, in turns, so that what else the machine does meets both. The aim is less than 1 %.
 * CPU time per request and per byte says the same where the machine is too busy for the clock.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { joinByVeth, startNetns } from '../test/bed/netns.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '11' }, seconds: { type: 'string', default: '1' } },
});
const rounds = Number(values.rounds);
const root = join(import.meta.dirname, '..');
const folder = mkdtempSync(join(tmpdir(), 'skl-impact-'));
const traffic = join(folder, 'traffic');
execFileSync('cc', ['-O2', '-o', traffic, join(import.meta.dirname, 'c/impact-traffic.c')]);

/** The default pipeline on ports of its own. */
const config = join(folder, 'pipeline.yaml');
const health = 23133;
writeFileSync(
  config,
  readFileSync(join(root, 'pipeline.yaml'), 'utf8')
    .replace('0.0.0.0:9464', '127.0.0.1:29464')
    .replace('page: {}', "page: { endpoint: 'localhost:29466' }") +
    `  telemetry: { metrics: { address: 'localhost:28888' } }\n  health: { address: 'localhost:${health}' }\n`,
);

/** Starts the agent and resolves when its probes are attached. */
async function startAgent(): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), 'run', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: root,
  });
  let log = '';
  child.stderr.on('data', (d: Buffer) => {
    log += d.toString();
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // The last probe of the default pipeline says that it is on or off.
  while (!/Probe \w+ is o.*Probe virtcmdlatency is o/s.test(log)) {
    if (child.exitCode !== null) throw new Error(`The agent ended with ${child.exitCode}:\n${log}`);
    await sleep(20);
  }
  return async () => {
    child.kill('SIGTERM');
    await ended;
  };
}

interface Measured {
  readonly transactions: number;
  readonly p99Ns: number;
  readonly bytes: number;
  /** CPU ns of the sender (on veth that is most of both ends) for each request, for each byte. */
  readonly requestCpu: number;
  readonly byteCpu: number;
}

await using a = await startNetns('a');
await using b = await startNetns('b');
await joinByVeth(a, b);
const [program = '', ...argv] = b.enter([traffic, 'server', '7000']);
const server = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
await new Promise((resolve) => server.stdout.once('data', resolve));

async function measure(): Promise<Measured> {
  const numbers = async (kind: string) =>
    (await a.output([traffic, kind, '192.0.2.2', '7000', values.seconds])).trim().split(' ').map(Number);
  const [transactions = 0, , p99Ns = 0, rrCpu = 0] = await numbers('rr');
  const [bytes = 0, bulkCpu = 0] = await numbers('bulk');
  return { transactions, p99Ns, bytes, requestCpu: rrCpu / transactions, byteCpu: bulkCpu / bytes };
}

const median = (xs: readonly number[]) => xs.toSorted((x, y) => x - y)[xs.length >> 1]!;
const ratios: Measured[] = [];
try {
  await measure();
  for (let round = 0; round < rounds; round++) {
    // The order changes from round to round, so that a drift of the machine favours neither.
    const withFirst = round % 2 === 0;
    let without = withFirst ? undefined : await measure();
    const stop = await startAgent();
    const measured = await measure();
    await stop();
    without ??= await measure();
    const base = without;
    const keys = Object.keys(measured) as (keyof Measured)[];
    ratios.push(Object.fromEntries(keys.map((k) => [k, measured[k] / base[k]])) as unknown as Measured);
  }
} finally {
  process.kill(-server.pid!, 'SIGKILL');
  rmSync(folder, { recursive: true });
}

const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`.padStart(8);
console.log(
  `Default pipeline against none, ${rounds} rounds of ${values.seconds} s in turns, load ${loadavg()[0]!.toFixed(1)}\n`,
);
console.log('what                          median     best    worst   aim');
for (const [name, key, better] of [
  ['requests/s of one connection', 'transactions', 1],
  ['p99 of a request', 'p99Ns', -1],
  ['CPU for a request', 'requestCpu', -1],
  ['bytes/s of one stream', 'bytes', 1],
  ['CPU for a byte', 'byteCpu', -1],
] as const) {
  const all = ratios.map((r) => r[key]).toSorted((x, y) => better * (x - y));
  const aim = better > 0 ? '> -1 %' : '< +1 %';
  console.log(`${name.padEnd(28)}${percent(median(all))}${percent(all.at(-1)!)} ${percent(all[0]!)}   ${aim}`);
}
