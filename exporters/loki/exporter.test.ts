import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { uncompress } from 'snappyjs';
import type { LogRecord, LogsBatch, Resource } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { eventLine } from '../../pipeline/event-line.ts';
import { RefusedError } from '../../pipeline/http-push/index.ts';
import { Backend } from '../../pipeline/http-push/testing.ts';
import { ProtobufReader } from '../../pipeline/protobuf.ts';
import { testContext } from '../../pipeline/testing.ts';
import { check, config, urlOf } from './config.ts';
import { LokiExporter } from './exporter.ts';
import declaration from './index.ts';

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const f of cleanups.reverse()) await f();
});

const never = new AbortController().signal;
const resource: Resource = {
  attributes: {
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': 'web-1',
    'k8s.node.name': 'node-1',
    'k8s.cluster.name': 'prod',
    'container.id': 'abc',
  },
};
const t0 = 1_760_000_000_000_000_000n;

function event(n: number, over: Partial<LogRecord> = {}): LogRecord {
  return {
    timeUnixNs: t0 + BigInt(n),
    observedTimeUnixNs: t0,
    severityNumber: 13,
    eventName: 'skoop.packet.dropped',
    body: `Dropped packet ${n}.`,
    attributes: { 'kubeskoop.type': 'PACKETLOSS', 'source.port': 443 + n, 'skoop.drop.reason': 'NO_SOCKET "x"' },
    owner: undefined,
    resource,
    ...over,
  };
}
const batchOf = (records: LogRecord[]): LogsBatch => ({ kind: 'logs', source: 'ebpf', scope: { name: 'x' }, records });
const batch = (count: number) => batchOf(Array.from({ length: count }, (_, i) => event(i)));

async function setup(input: Record<string, unknown> = {}) {
  const backend = await new Backend().start();
  const context = testContext({ id: 'loki' });
  const exporter = new LokiExporter(config.parse({ endpoint: backend.url, ...input }), context);
  cleanups.push(
    () => exporter.stop(),
    () => backend.stop(),
  );
  await exporter.start();
  return { backend, exporter, context };
}

type Json = { streams: { stream: Record<string, string>; values: [string, string, Record<string, string>?][] }[] };
const jsonOf = (body: Buffer): Json => JSON.parse(body.toString());

/** A PushRequest in the shape of the JSON one, labels as their selector. */
function protobufOf(body: Buffer) {
  const streams: { stream: string; values: [string, string, Record<string, string>][] }[] = [];
  const request = new ProtobufReader(uncompress(body));
  while (request.next()) {
    const s = request.message();
    const out = { stream: '', values: [] as [string, string, Record<string, string>][] };
    while (s.next()) {
      if (s.field === 1) out.stream = s.string();
      else out.values.push(entryOf(s.message()));
    }
    streams.push(out);
  }
  return streams;
}
function entryOf(e: ProtobufReader): [string, string, Record<string, string>] {
  let ns = 0n;
  let line = '';
  const metadata: Record<string, string> = {};
  while (e.next()) {
    if (e.field === 1) {
      const t = e.message();
      while (t.next()) ns += BigInt(t.varint()) * (t.field === 1 ? 1_000_000_000n : 1n);
    } else if (e.field === 2) line = e.string();
    else {
      const pair = e.message();
      let name = '';
      while (pair.next()) {
        if (pair.field === 1) name = pair.string();
        else metadata[name] = pair.string();
      }
    }
  }
  return [String(ns), line, metadata];
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new assert.AssertionError({ message: 'It did not reject' });
}

test('pushes JSON: few labels, the event line, everything else as metadata', async () => {
  const { backend, exporter } = await setup({ tenant: 'team-a' });
  const records = [event(1), event(2, { eventName: 'skoop.tcp.reset' }), event(3)];
  assert.equal(await exporter.push(batchOf(records), never), undefined);
  const [request] = backend.received;
  assert.equal(request!.path, '/loki/api/v1/push');
  assert.equal(request!.headers['x-scope-orgid'], 'team-a');
  assert.equal(request!.headers['content-encoding'], 'gzip');
  const metadata = (n: number) => ({
    level: 'warn',
    kubeskoop_type: 'PACKETLOSS',
    source_port: String(443 + n),
    skoop_drop_reason: 'NO_SOCKET "x"',
    k8s_pod_name: 'web-1',
    container_id: 'abc',
  });
  const labels = { cluster: 'prod', namespace: 'shop', node: 'node-1' };
  const value = (n: number, i: number) => [String(t0 + BigInt(n)), eventLine(records[i]!), metadata(n)];
  assert.deepEqual(jsonOf(request!.body), {
    streams: [
      { stream: { ...labels, event: 'skoop.packet.dropped' }, values: [value(1, 0), value(3, 2)] },
      { stream: { ...labels, event: 'skoop.tcp.reset' }, values: [value(2, 1)] },
    ],
  });
});

test('protobuf with snappy holds the same', async () => {
  const json = await setup();
  const protobuf = await setup({ format: 'protobuf' });
  const records = [...Array(50).keys()].map((n) => event(n, { eventName: `e${n % 3}`, body: 'ä "quoted" \\ \n' }));
  await json.exporter.push(batchOf(records), never);
  await protobuf.exporter.push(batchOf(records), never);
  const [request] = protobuf.backend.received;
  assert.equal(request!.headers['content-type'], 'application/x-protobuf');
  assert.equal(request!.headers['content-encoding'], undefined);
  const expected = jsonOf(json.backend.received[0]!.body).streams.map(({ stream, values }) => ({
    stream: `{${Object.entries(stream)
      .map(([k, v]) => `${k}=${JSON.stringify(v)}`)
      .join(', ')}}`,
    values,
  }));
  assert.deepEqual(protobufOf(request!.body), expected);
});

test('keys that become one name are sent once, the event before its resource', async () => {
  for (const format of ['json', 'protobuf'] as const) {
    const { backend, exporter } = await setup({ format });
    const attributes = {
      'a.b': 'first',
      a_b: 'second',
      level: 'mine',
      'container.id': 'own',
      flag: true,
      list: ['x', 'y'],
    };
    await exporter.push(batchOf([event(1, { attributes })]), never);
    const { body } = backend.received[0]!;
    const [stream] = format === 'json' ? jsonOf(body).streams : protobufOf(body);
    assert.deepEqual(stream!.values[0]![2], {
      level: 'warn',
      a_b: 'first',
      container_id: 'own',
      flag: 'true',
      list: 'x,y',
      k8s_pod_name: 'web-1',
    });
  }
});

test('orders each stream by time, and keeps twins apart by a nanosecond', async () => {
  const { backend, exporter } = await setup({ line: 'body' });
  const at = (ns: number, body: string) => event(0, { timeUnixNs: BigInt(ns), body });
  await exporter.push(
    batchOf([at(30, 'c'), at(10, 'a'), at(20, 'b'), at(20, 'b'), at(20, 'x'), at(20, 'b'), at(20, 'x')]),
    never,
  );
  const [stream] = jsonOf(backend.received[0]!.body).streams;
  const values = stream!.values.map(([ns, line]) => `${ns}${line}`);
  assert.deepEqual(values, ['10a', '20b', '21b', '21x', '22b', '22x', '30c']);
  assert.equal(new Set(values).size, 7);
});

test('labels come from the config, also fixed ones; without any there is still one', async () => {
  const { backend, exporter } = await setup({
    labels: { reason: 'skoop.drop.reason', env: 'nothing', cluster: 'k8s.cluster.name' },
    static_labels: { cluster: 'other', job: 'net' },
    structured_metadata: false,
  });
  await exporter.push(batch(1), never);
  const [stream] = jsonOf(backend.received[0]!.body).streams;
  assert.deepEqual(stream!.stream, { cluster: 'other', job: 'net', reason: 'NO_SOCKET "x"' });
  assert.equal(stream!.values[0]!.length, 2);
  const bare = await setup({ labels: { x: 'nothing' } });
  await bare.exporter.push(batch(1), never);
  assert.deepEqual(jsonOf(bare.backend.received[0]!.body).streams[0]!.stream, { job: 'skoopline' });
});

test('requests are split; what was delivered before a failure is not sent again', async () => {
  for (const format of ['json', 'protobuf'] as const) {
    const { backend, exporter } = await setup({ format, max_request_bytes: '16KiB', compression: 'none' });
    backend.reply = (_, n) => (n === 3 ? { status: 503, headers: { 'retry-after': '5' } } : { status: 204 });
    const error = await rejection(exporter.push(batch(300), never));
    assert.ok(error instanceof RetryableError && error.remaining?.kind === 'logs');
    assert.equal(error.retryAfterMs, 5000);
    const sent = backend.received.slice(0, 2).flatMap((r) => {
      assert.ok(r.body.length < 18_000, `${r.body.length}`);
      const streams = format === 'json' ? jsonOf(r.body).streams : protobufOf(r.body);
      return streams.flatMap((s) => s.values.map(([ns]) => Number(BigInt(ns) - t0)));
    });
    const rest = error.remaining.records.map((r) => Number(r.timeUnixNs - t0));
    assert.deepEqual([...sent, ...rest], [...Array(300).keys()]);
  }
});

test('400 says how many were left out, and is not tried again', async () => {
  const { backend, exporter, context } = await setup();
  backend.reply = () => ({
    status: 400,
    body: "entry with timestamp 2020 ignored, reason: 'entry too far behind',\nuser 'fake', total ignored: 3 out of 7 for stream: {a=\"b\"}\nuser 'fake', total ignored: 2 out of 4 for stream: {a=\"c\"}",
  });
  assert.deepEqual(await exporter.push(batch(11), never), { rejected: 5, errorType: '400' });
  assert.equal(context.telemetry.failures.length, 1);
  backend.reply = () => ({ status: 400, body: 'error parsing labels' });
  const error = await rejection(exporter.push(batch(11), never));
  assert.ok(error instanceof RefusedError && error.errorType === '400');
});

for (const [status, retryable] of [
  [429, true],
  [500, true],
  [503, true],
  [401, false],
  [404, false],
  [413, false],
] as const) {
  test(`${status} is ${retryable ? '' : 'not '}tried again`, async () => {
    const { backend, exporter } = await setup();
    backend.reply = () => ({ status });
    const error = await rejection(exporter.push(batch(3), never));
    assert.equal(error instanceof RetryableError, retryable);
    assert.equal((error as RetryableError).errorType, String(status));
  });
}

test('config: defaults, rules', () => {
  const c = config.parse({});
  assert.equal(urlOf(c).href, 'http://localhost:3100/loki/api/v1/push');
  assert.equal(urlOf(config.parse({ endpoint: 'http://x/gateway/push' })).pathname, '/gateway/push');
  assert.equal(c.sending_queue.num_consumers, 1);
  assert.equal(config.parse({ sending_queue: { queue_size: 5 } }).sending_queue.num_consumers, 1);
  assert.deepEqual(declaration.check!(c), []);
  const many = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`l${i}`, 'x']));
  assert.deepEqual(
    [config.parse({ labels: {} }), config.parse({ labels: many }), config.parse({ endpoint: 'ftp://x' })].map(
      (bad) => check(bad)[0]?.path[0],
    ),
    ['labels', 'labels', 'endpoint'],
  );
});

test('equal entries stay apart when only some of them were taken', async () => {
  const { backend, exporter } = await setup({ max_request_bytes: '16KiB' });
  backend.reply = (_, n) => (n === 2 ? { status: 503 } : undefined);
  const error = await rejection(exporter.push(batchOf(Array.from({ length: 211 }, () => event(7))), never));
  assert.ok(error instanceof RetryableError && error.remaining);
  await exporter.push(error.remaining, never);
  const taken = backend.received.filter((_, i) => i !== 1).flatMap((r) => jsonOf(r.body).streams);
  const keys = taken.flatMap(({ values }) => values.map(([ns, line]) => `${ns} ${line}`));
  assert.equal(keys.length, 211);
  assert.equal(new Set(keys).size, 211, 'Loki keeps one of those with the same time and line');
});
