/**
 * Conservation against a real OpenTelemetry Collector: numbered records go from a queue on disk over OTLP/HTTP, OTLP/gRPC and Loki push into a
 * Collector that is killed -9, hung and started again at random, while each sender is killed -9 at random too. At the end every record
 * that the queue acknowledged is in the Collector's file, unaltered, and twice only what was in flight.
 *
 * What the Collector's answer is worth depends on its configuration, since what it has acknowledged and not yet written dies with it:
 *
 * - Here nothing stands between receiver and file (no batch processor, no sending queue), so the answer is given after the file exporter has
 *   written. With `rotation` that exporter has no buffer, each request is one write(2): what it acknowledged is the kernel's, and
 *   kill -9 cannot take it. A request cut in two by the kill was not acknowledged; its piece of a line is skipped.
 * - With a batch processor, as most have it, the answer comes before the writing, and kill -9 takes what the processor holds. What is missing then
 *   must be what the Collector said it has: that loss is its own. It is run as well, so that the difference is seen (`lost`).
 *
 * `SOAK=1` for ten times as many kills of the senders.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventLine } from '../../pipeline/event-line.ts';
import { numberedRecord } from '../../pipeline/queue/testing.ts';
import { Sender } from '../faults/sender-process.ts';
import { Collector, collectorBinary, freePorts } from './collector-process.ts';

const soak = process.env['SOAK'] === '1';
/** Of each sender. The Collector is killed as long as they are. */
const kills = soak ? 50 : 5;
const records = 15_000 * kills;
/** The sender gives a request up after 3 s. */
const hangMs = 3500;
/** The queue writes down what was delivered at least every 10 ms, on a machine that is not standing still. */
const writtenDownMs = 1000;

const binary = collectorBinary();
const folder = mkdtempSync(join(tmpdir(), `skl${process.pid}-collector-conserve-`));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What happened to the batches of one sender; a batch is known by the number of its first record. */
class Pushes {
  readonly sendings = new Map<number, number>();
  /** For each record the first one of its batch; -1 = never sent. */
  readonly firsts = new Int32Array(records).fill(-1);
  /** Batches the backend said it has. */
  readonly told = new Map<number, { life: number; atMs: number }>();
  /** Sent again although that was known. */
  readonly unexpected: number[] = [];
  readonly #kills = new Map<number, number>();

  killed(life: number): void {
    this.#kills.set(life, Date.now());
  }

  note(what: 'sending' | 'told', first: number, end: number, life: number): void {
    if (what === 'told') {
      this.told.set(first, { life, atMs: Date.now() });
      return;
    }
    const told = this.told.get(first);
    if (told && (told.life === life || this.#kills.get(told.life)! > told.atMs + writtenDownMs)) {
      this.unexpected.push(first);
    }
    this.sendings.set(first, (this.sendings.get(first) ?? 0) + 1);
    this.firsts.fill(first, first, end);
  }
}

interface Way {
  readonly name: string;
  readonly exporter: 'otlp' | 'loki';
  readonly section: object;
  /** The Collector's acknowledgement means written. */
  readonly written: boolean;
}

const ways: readonly Way[] = [
  { name: 'http', exporter: 'otlp', section: { compression: 'gzip' }, written: true },
  { name: 'grpc', exporter: 'otlp', section: { compression: 'gzip', protocol: 'grpc' }, written: true },
  { name: 'loki', exporter: 'loki', section: { compression: 'gzip' }, written: true },
  { name: 'batched', exporter: 'otlp', section: { compression: 'gzip' }, written: false },
];

function collectorConfig(ports: readonly number[]): object {
  const receivers: Record<string, object> = {};
  const exporters: Record<string, object> = {};
  const pipelines: Record<string, object> = {};
  for (const [i, { name, exporter, section, written }] of ways.entries()) {
    const protocol = 'protocol' in section ? 'grpc' : 'http';
    const receiver = `${exporter}/${name}`;
    receivers[receiver] = {
      protocols: { [protocol]: { endpoint: `127.0.0.1:${ports[i]}` } },
      ...(exporter === 'loki' && { use_incoming_timestamp: true }),
    };
    const rotation = { max_megabytes: 100_000 };
    exporters[`file/${name}`] = { path: join(folder, `${name}.json`), format: 'json', rotation };
    const processors = written ? [] : ['batch'];
    pipelines[`logs/${name}`] = { receivers: [receiver], processors, exporters: [`file/${name}`] };
  }
  const processors = { batch: { timeout: '500ms' } };
  return { receivers, processors, exporters, service: { pipelines, telemetry: { metrics: { level: 'none' } } } };
}

interface OtlpJsonRecord {
  readonly timeUnixNano: string;
  readonly observedTimeUnixNano?: string;
  readonly severityNumber?: number;
  readonly eventName?: string;
  readonly body: { readonly stringValue: string };
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, string>> }[];
}

/** What one way's file holds: how often each record, and which are not what was sent. */
function readLedger({ name, exporter }: Way): { seen: Uint8Array; altered: string[]; torn: number } {
  const seen = new Uint8Array(records);
  const altered: string[] = [];
  let torn = 0;
  const start = '{"resourceLogs":';
  for (const part of readFileSync(join(folder, `${name}.json`), 'utf8')
    .split(start)
    .slice(1)) {
    let request: { resourceLogs: { scopeLogs: { logRecords: OtlpJsonRecord[] }[] }[] };
    try {
      request = JSON.parse(start + part);
    } catch {
      torn++;
      continue;
    }
    for (const r of request.resourceLogs.flatMap((x) => x.scopeLogs).flatMap((x) => x.logRecords)) {
      const key = exporter === 'loki' ? 'test_number' : 'test.number';
      const value = r.attributes.find((a) => a.key === key)?.value;
      const n = Number(value?.['intValue'] ?? value?.['stringValue']);
      const same = exporter === 'loki' ? isPushed(r, n) : isUnaltered(r, n);
      if (!same || seen[n] === undefined) altered.push(JSON.stringify(r));
      else seen[n]!++;
    }
  }
  return { seen, altered, torn };
}

function isUnaltered(r: OtlpJsonRecord, n: number): boolean {
  const sent = numberedRecord(n);
  return (
    r.timeUnixNano === String(sent.timeUnixNs) &&
    r.observedTimeUnixNano === String(sent.observedTimeUnixNs) &&
    r.severityNumber === sent.severityNumber &&
    r.eventName === sent.eventName &&
    r.body.stringValue === sent.body &&
    r.attributes.length === 1
  );
}

/** As a Loki entry: time, line and metadata. */
function isPushed(r: OtlpJsonRecord, n: number): boolean {
  const sent = numberedRecord(n);
  return r.timeUnixNano === String(sent.timeUnixNs) && r.body.stringValue === eventLine(sent);
}

/** One sender's lives: killed again and again, the last one of them sends what is left once `calm` resolves. */
class Run {
  readonly way: Way;
  readonly pushes = new Pushes();
  readonly sender: Sender;

  constructor(way: Way, port: number) {
    this.way = way;
    this.sender = new Sender({
      endpoint: `http://127.0.0.1:${port}`,
      directory: join(folder, `${way.name}-queue`),
      size: records,
      args: ['--pushes', '--exporter', way.exporter, '--section', JSON.stringify(way.section)],
      onPush: (...what) => this.pushes.note(...what),
    });
  }

  async killed(): Promise<void> {
    for (let kill = 0; kill < kills; kill++) {
      const life = this.sender.live(Math.ceil(((kill + 1) * records) / (kills + 1)));
      await life.started;
      await Promise.race([life.done, sleep(Math.random() * 1000)]);
      this.pushes.killed(this.sender.lives);
      life.child.kill('SIGKILL');
      await life.ended;
    }
  }

  drained(): Promise<void> {
    return this.sender.live(records, '--drain').ended;
  }

  /** Checks the books, and returns them. */
  settle() {
    const { name, written } = this.way;
    const { acked, offered, trouble, accounts } = this.sender;
    const { sendings, told, firsts, unexpected } = this.pushes;
    const { seen, altered, torn } = readLedger(this.way);
    const missing: number[] = [];
    const tooOften: number[] = [];
    let ackedCount = 0;
    let twice = 0;
    let lost = 0;
    for (let n = 0; n < records; n++) {
      ackedCount += acked[n]!;
      if (acked[n] && seen[n] === 0) missing.push(n);
      if (seen[n]! > 1) twice++;
      if (seen[n] === 0 && told.has(firsts[n]!)) lost++;
      if (seen[n]! > (sendings.get(firsts[n]!) ?? 0)) tooOften.push(n);
    }
    const untold = missing.filter((n) => !told.has(firsts[n]!));
    const again = [...sendings.values()].filter((times) => times > 1).length;
    assert.deepEqual(trouble, [], name);
    assert.equal(offered, records);
    assert.ok(ackedCount > records / 2, `${ackedCount} acknowledged`);
    assert.deepEqual(altered.slice(0, 3), [], `${altered.length} altered`);
    if (written) {
      assert.deepEqual(missing.slice(0, 10), [], `${name}: ${missing.length} acknowledged records are missing`);
      assert.equal(lost, 0, `${name}: of what the Collector said it has`);
    }
    assert.deepEqual(untold.slice(0, 10), [], `${name}: missing, and the Collector never said it has them`);
    assert.deepEqual(unexpected, [], `${name}: sent again although told`);
    assert.deepEqual(tooOften.slice(0, 10), [], `${name}: in the file more often than sent`);
    const { queued, sent, recovered, dropped, offered: offeredLast } = accounts as Record<string, number>;
    assert.deepEqual([queued, sent, dropped], [0, offeredLast! + recovered!, {}]);
    return { name, acked: ackedCount, lost, twice, batches: sendings.size, again, torn };
  }
}

test('numbered records into a real Collector, both ends killed -9', { timeout: 3_000_000 }, async (t) => {
  if ('whyNot' in binary) return t.skip(binary.whyNot);
  const ports = await freePorts(ways.length);
  const collector = new Collector(binary.path, folder, collectorConfig(ports), ports);
  const runs = ways.map((way, i) => new Run(way, ports[i]!));
  after(async () => {
    for (const { sender } of runs) sender.end();
    await collector.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  const state = { over: false, killed: 0, hung: 0 };
  await collector.start();
  const trouble = async () => {
    for (let round = 1; !state.over; round++) {
      await sleep(200 + Math.random() * 1000);
      if (round % 5 === 0) {
        state.hung++;
        collector.signal('SIGSTOP');
        await sleep(hangMs);
        collector.signal('SIGCONT');
        continue;
      }
      state.killed++;
      await collector.kill();
      await sleep(Math.random() * 300);
      await collector.start();
    }
  };
  const lives = Promise.all(runs.map((run) => run.killed())).finally(() => {
    state.over = true;
  });
  await Promise.all([lives, trouble()]);
  await Promise.all(runs.map((run) => run.drained()));
  await collector.stop();
  const books = runs.map((run) => run.settle());
  console.log(`collector conservation: ${JSON.stringify({ kills, collector: state, books })}`);
  assert.ok(
    books.some(({ again }) => again > 0),
    'nothing was in flight at any kill',
  );
  assert.ok(state.killed >= kills / 2, `${state.killed} kills of the Collector`);
});
