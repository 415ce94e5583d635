/**
 * The child process of the conservation tests: an agent reduced to a generator, a delivery queue on disk and the OTLP or Loki exporter. It
 * offers numbered records and says on standard output, in lines, what it has done; `acked A B` is written when the queue has said that
 * A … B−1 survive this process; with `--pushes`, `sending A B` when such a batch is sent and `told A B` when the backend said that it has it.
 */
import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import loki from '../../exporters/loki/index.ts';
import otlp from '../../exporters/otlp/index.ts';
import type { Batch, LogsBatch } from '../../pipeline/batch.ts';
import { systemClock } from '../../pipeline/clock.ts';
import type { Exporter, ExporterDeclaration } from '../../pipeline/component.ts';
import { createQueue } from '../../pipeline/queue/index.ts';
import { numberedLogs, numbersOf } from '../../pipeline/queue/testing.ts';
import { testContext } from '../../pipeline/testing.ts';

const { values: args } = parseArgs({
  options: {
    exporter: { type: 'string', default: 'otlp' },
    endpoint: { type: 'string' },
    /** More keys of the exporter's section, JSON. */
    section: { type: 'string', default: '{}' },
    pushes: { type: 'boolean', default: false },
    directory: { type: 'string' },
    from: { type: 'string' },
    to: { type: 'string' },
    life: { type: 'string' },
    drain: { type: 'boolean', default: false },
  },
});
const say = (line: string) => writeSync(1, `${line}\n`);

const sending_queue = { storage: 'disk', directory: args.directory };
const retry_on_failure = { initial_interval: '20ms', max_interval: '200ms' };
const headers = { 'x-life': args.life };
const section = {
  headers,
  endpoint: args.endpoint,
  timeout: '3s',
  compression: 'none',
  sending_queue,
  retry_on_failure,
  ...(JSON.parse(args.section) as object),
};
const declaration: ExporterDeclaration = args.exporter === 'loki' ? loki : otlp;
const config = declaration.config.parse(section);
const context = { ...testContext({ id: 'otlp' }), clock: systemClock };
const exporter = declaration.create(config, context);
const telling: Pick<Exporter, 'push'> = {
  async push(batch: Batch, signal) {
    const numbers = numbersOf(batch as LogsBatch);
    const range = `${numbers[0]} ${numbers[0]! + numbers.length}`;
    say(`sending ${range}`);
    const result = await exporter.push(batch, signal);
    say(`told ${range}`);
    return result;
  },
};
const queue = createQueue({ exporter: args.pushes ? telling : exporter, config: declaration.queue!(config), context });

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await queue.stop(AbortSignal.timeout(5000));
  await exporter.stop?.(AbortSignal.timeout(1000));
  say(`accounts ${JSON.stringify(queue.accounts())}`);
  process.exit(0);
}
process.on('SIGTERM', () => void end());

await exporter.start?.();
await queue.start();
say(`started ${queue.accounts().recovered}`);

/** What the queue lost or could not do; there should be nothing but refusals by partial success. */
function tellTrouble(): void {
  const { partial_success: _, ...dropped } = queue.accounts().dropped;
  if (Object.keys(dropped).length > 0) say(`trouble ${JSON.stringify(dropped)}`);
  for (const { what, error } of context.telemetry.failures.splice(0))
    if (what !== 'push') say(`trouble ${what}: ${error}`);
  if (context.telemetry.rejections['corrupt_queue_file']) say('trouble corrupt queue file');
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const to = Number(args.to);
for (let n = Number(args.from); n < to && !ending; ) {
  const count = Math.min(1 + Math.floor(Math.random() * 400), to - n);
  say(`offered ${n} ${n + count}`);
  queue.offer(numberedLogs(n, count));
  // Mostly the queue's own rhythm decides; what it has written by then is asked for now and again.
  if (Math.random() < 0.5) {
    await queue.flush();
    say(`acked ${n} ${n + count}`);
  }
  n += count;
  tellTrouble();
  await pause(Math.random() * 4);
}
if (!ending) await queue.flush();
say('done');
if (args.drain) {
  while (queue.stats().items > 0) await pause(20);
  await end();
}
