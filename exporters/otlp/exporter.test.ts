import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type StatusObject,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { LogRecord, LogsBatch } from '../../pipeline/batch.ts';
import { RetryableError } from '../../pipeline/component.ts';
import { RefusedError } from '../../pipeline/http-push/index.ts';
import { Backend } from '../../pipeline/http-push/testing.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { testContext } from '../../pipeline/testing.ts';
import { check, config, urlOf } from './config.ts';
import { OtlpExporter } from './exporter.ts';
import { pods, scope } from './testdata/batches.ts';
import { decodeOtlp } from './testdata/decode.ts';

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const f of cleanups.reverse()) await f();
});

const never = new AbortController().signal;

function logs(count: number, options: { podsUsed?: number; bodyLength?: number } = {}): LogsBatch {
  const { podsUsed = 1, bodyLength = 20 } = options;
  const records = Array.from(
    { length: count },
    (_, i): LogRecord => ({
      timeUnixNs: BigInt(i),
      observedTimeUnixNs: BigInt(i),
      severityNumber: 9,
      eventName: 'skoop.test',
      body: `${i} `.padEnd(bodyLength, 'x'),
      attributes: { 'test.number': i },
      owner: undefined,
      resource: pods[i % podsUsed]!,
    }),
  );
  return { kind: 'logs', source: 'test', scope, records };
}

async function setup(input: Record<string, unknown> = {}) {
  const backend = await new Backend().start();
  const context = testContext({ id: 'otlp' });
  const exporter = new OtlpExporter(config.parse({ endpoint: backend.url, ...input }), context);
  cleanups.push(
    () => exporter.stop(),
    () => backend.stop(),
  );
  await exporter.start();
  return { backend, exporter, context };
}

/** Response bodies: ExportLogsServiceResponse. */
function partial(rejected: number, message: string): Uint8Array {
  const w = new ProtobufWriter();
  w.byte((1 << 3) | 2);
  const mark = w.begin(1);
  w.byte(1 << 3);
  w.varint(rejected);
  w.byte((2 << 3) | 2);
  w.string(message);
  w.end(mark);
  return Uint8Array.from(w.bytes());
}

type Decoded = { resourceLogs: { scopeLogs: { logRecords: { timeUnixNano?: string }[] }[] }[] };

function recordsOf({ resourceLogs }: Decoded) {
  return resourceLogs.flatMap((r) => r.scopeLogs.flatMap((s) => s.logRecords));
}

function numbers(body: Uint8Array): number[] {
  return recordsOf(decodeOtlp('ExportLogsServiceRequest', body)).map((r) => Number(r.timeUnixNano ?? 0));
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new assert.AssertionError({ message: 'It did not reject' });
}

for (const compression of ['gzip', 'zstd', 'none']) {
  test(`posts protobuf with ${compression}`, async () => {
    const { backend, exporter } = await setup({ compression, headers: { 'X-Scope-OrgID': 'team' } });
    assert.equal(await exporter.push(logs(17), never), undefined);
    const [request] = backend.received;
    assert.equal(request!.path, '/v1/logs');
    assert.equal(request!.headers['content-type'], 'application/x-protobuf');
    assert.equal(request!.headers['content-encoding'], compression === 'none' ? undefined : compression);
    assert.equal(request!.headers['x-scope-orgid'], 'team');
    assert.equal(request!.headers['user-agent'], 'skoopline/0.0.0-test');
    assert.deepEqual(numbers(request!.body), [...Array(17).keys()]);
  });
}

test('posts JSON, split by size', async () => {
  const { backend, exporter } = await setup({ protocol: 'http/json', max_request_bytes: '16KiB' });
  await exporter.push(logs(101, { bodyLength: 400 }), never);
  assert.ok(backend.received.length > 2);
  const seen = backend.received.flatMap((r) => {
    assert.ok(r.body.length <= 16 * 1024);
    assert.equal(r.headers['content-type'], 'application/json');
    return recordsOf(JSON.parse(r.body.toString())).map((x) => x.timeUnixNano);
  });
  assert.deepEqual(
    seen,
    Array.from({ length: 101 }, (_, i) => String(i)),
  );
});

for (const [code, retryable] of [
  [429, true],
  [502, true],
  [503, true],
  [504, true],
  [400, false],
  [401, false],
  [413, false],
  [500, false],
  [302, false],
] as const) {
  test(`${code} is ${retryable ? '' : 'not '}tried again`, async () => {
    const { backend, exporter } = await setup();
    backend.reply = () => ({ status: code, headers: { 'retry-after': '7' }, body: 'because' });
    const error = await rejection(exporter.push(logs(3), never));
    if (retryable) {
      assert.ok(error instanceof RetryableError);
      assert.equal(error.retryAfterMs, 7000);
      assert.equal(error.errorType, String(code));
    } else {
      assert.ok(error instanceof RefusedError);
      assert.equal(error.errorType, String(code));
      assert.match(error.message, /because/);
    }
  });
}

test('partial success is reported, a warning alone is none', async () => {
  const { backend, exporter } = await setup();
  backend.reply = () => ({ headers: { 'content-type': 'application/x-protobuf' }, body: partial(5, 'too old') });
  assert.deepEqual(await exporter.push(logs(11), never), { rejected: 5, errorType: 'partial_success' });
  backend.reply = () => ({ body: partial(0, 'deprecated') });
  assert.equal(await exporter.push(logs(11), never), undefined);
  backend.reply = () => ({
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ partialSuccess: { rejectedLogRecords: '3', errorMessage: 'x' } }),
  });
  assert.deepEqual(await exporter.push(logs(11), never), { rejected: 3, errorType: 'partial_success' });
  backend.reply = () => ({ body: 'ÿÿÿ' });
  assert.equal(await exporter.push(logs(11), never), undefined);
});

test('what was delivered before a failure is not sent again', async () => {
  const { backend, exporter } = await setup({ max_request_bytes: '16KiB', compression: 'none' });
  backend.reply = (_, n) => (n === 1 ? { body: partial(2, 'x') } : n === 3 ? { status: 503 } : undefined);
  const error = await rejection(exporter.push(logs(400, { bodyLength: 100, podsUsed: 3 }), never));
  assert.ok(error instanceof RetryableError && error.remaining?.kind === 'logs');
  assert.deepEqual(error.rejected, { rejected: 2, errorType: 'partial_success' });
  const delivered = backend.received.slice(0, 2).flatMap((r) => numbers(r.body));
  const rest = error.remaining.records.map((r) => Number(r.timeUnixNs));
  assert.deepEqual(
    [...delivered, ...rest].sort((a, b) => a - b),
    [...Array(400).keys()],
  );
});

test('a refused request does not stop the others of its batch', async () => {
  const { backend, exporter } = await setup({ max_request_bytes: '16KiB', compression: 'none' });
  backend.reply = (_, n) => (n === 2 ? { status: 400 } : undefined);
  const result = await exporter.push(logs(300, { bodyLength: 100 }), never);
  assert.equal(result?.errorType, '400');
  assert.equal(result.rejected, numbers(backend.received[1]!.body).length);
  assert.equal(backend.received.flatMap((r) => numbers(r.body)).length, 300);
});

test('broken connections, cut answers, silence and aborts are retryable', async () => {
  const { backend, exporter } = await setup({ timeout: '150ms' });
  for (const [reply, type] of [
    [{ cut: 'before' }, 'ECONNRESET'],
    [{ cut: 'body' }, 'ECONNRESET'],
    [{ hang: true }, 'timeout'],
  ] as const) {
    backend.reply = () => reply;
    const error = await rejection(exporter.push(logs(1), never));
    assert.ok(error instanceof RetryableError, String(error));
    assert.equal(error.errorType, type);
  }
  const abort = new AbortController();
  backend.reply = () => {
    abort.abort();
    return { hang: true };
  };
  const aborted = await rejection(exporter.push(logs(1), abort.signal));
  assert.ok(aborted instanceof RetryableError && aborted.errorType === 'aborted');
  await backend.stop();
  const refused = await rejection(exporter.push(logs(1), never));
  assert.ok(refused instanceof RetryableError && refused.errorType === 'ECONNREFUSED', String(refused));
});

test('connections are kept, and renewed after connection_max_age', async () => {
  const { backend, exporter, context } = await setup({ connection_max_age: '1m' });
  for (let i = 0; i < 3; i++) await exporter.push(logs(1), never);
  assert.equal(new Set(backend.received.map((r) => r.port)).size, 1);
  context.clock.advance(61_000);
  for (let i = 0; i < 3; i++) await exporter.push(logs(1), never);
  assert.equal(new Set(backend.received.map((r) => r.port)).size, 2);
});

test('a connection that the backend closed while idle costs nothing', async () => {
  const { backend, exporter } = await setup();
  await exporter.push(logs(1), never);
  backend.cutAll();
  await exporter.push(logs(1), never);
  assert.equal(backend.received.length, 2);
});

test('a backend that cuts connections as fast as they are made is a retryable failure', async () => {
  const { backend, exporter } = await setup();
  await Promise.all([exporter.push(logs(1), never), exporter.push(logs(1), never), exporter.push(logs(1), never)]);
  backend.reply = () => ({ cut: 'before' });
  const errors = await Promise.all([1, 2, 3].map(() => rejection(exporter.push(logs(1), never))));
  for (const error of errors)
    assert.ok(error instanceof RetryableError && error.errorType === 'ECONNRESET', String(error));
});

test('goes through a proxy', async () => {
  const { backend, exporter } = await setup({ endpoint: 'http://collector.invalid:4318' });
  const direct = await rejection(exporter.push(logs(1), never));
  assert.ok(direct instanceof RetryableError);
  const proxied = new OtlpExporter(
    config.parse({ endpoint: 'http://collector.invalid:4318', proxy_url: backend.url }),
    testContext(),
  );
  cleanups.push(() => proxied.stop());
  await proxied.push(logs(1), never);
  assert.equal(backend.received.at(-1)!.path, 'http://collector.invalid:4318/v1/logs');
});

test('entities are not its business', async () => {
  const { backend, exporter } = await setup();
  await exporter.push({ kind: 'entities', source: 'cri', timeMs: 0, entities: [] }, never);
  assert.equal(backend.received.length, 0);
});

// --- gRPC ---

type GrpcAnswer = { error?: Partial<StatusObject>; body?: Uint8Array };

async function grpcSetup(input: Record<string, unknown> = {}) {
  const bodies: Buffer[] = [];
  const metadata: Record<string, unknown>[] = [];
  const state: { answer: GrpcAnswer | undefined } = { answer: undefined };
  const server = new Server();
  const identity = (b: Buffer) => b;
  const method = {
    path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
  server.addService({ Export: method }, {
    Export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
      bodies.push(call.request);
      metadata.push(call.metadata.getMap());
      const { error, body } = state.answer ?? {};
      callback(error ?? null, Buffer.from(body ?? []));
    },
  } as never);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('localhost:0', ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p)));
  });
  const exporter = new OtlpExporter(
    config.parse({ protocol: 'grpc', endpoint: `http://localhost:${port}`, timeout: '5s', ...input }),
    testContext(),
  );
  await exporter.start();
  cleanups.push(async () => {
    await exporter.stop();
    server.forceShutdown();
  });
  return { bodies, metadata, state, exporter, server, port };
}

test('gRPC: sends, with headers and gzip, and reads partial success', async () => {
  const { bodies, metadata, state, exporter } = await grpcSetup({
    headers: { 'X-Team': 'net' },
    auth: { bearer: { token: 't' } },
  });
  assert.equal(await exporter.push(logs(13), never), undefined);
  assert.deepEqual(numbers(bodies[0]!), [...Array(13).keys()]);
  assert.equal(metadata[0]!['x-team'], 'net');
  assert.equal(metadata[0]!['authorization'], 'Bearer t');
  state.answer = { body: partial(3, 'x') };
  assert.deepEqual(await exporter.push(logs(13), never), { rejected: 3, errorType: 'partial_success' });
});

test('gRPC: codes are retryable as the specification says', async () => {
  const { state, exporter } = await grpcSetup();
  for (const [code, retryable, type] of [
    [status.UNAVAILABLE, true, 'unavailable'],
    [status.DATA_LOSS, true, 'data_loss'],
    [status.ABORTED, true, 'aborted'],
    [status.RESOURCE_EXHAUSTED, false, 'resource_exhausted'],
    [status.INVALID_ARGUMENT, false, 'invalid_argument'],
    [status.UNAUTHENTICATED, false, 'unauthenticated'],
  ] as const) {
    state.answer = { error: { code, details: 'x' } };
    const error = await rejection(exporter.push(logs(1), never));
    assert.equal(error instanceof RetryableError, retryable, type);
    assert.equal((error as RetryableError).errorType, type);
  }
});

test('gRPC: RetryInfo makes exhaustion retryable and says when', async () => {
  const { Metadata } = await import('@grpc/grpc-js');
  const w = new ProtobufWriter();
  w.byte((3 << 3) | 2);
  const any = w.begin(1);
  w.byte((1 << 3) | 2);
  w.string('type.googleapis.com/google.rpc.RetryInfo');
  w.byte((2 << 3) | 2);
  const info = w.begin(1);
  w.byte((1 << 3) | 2);
  const duration = w.begin(1);
  w.byte(1 << 3);
  w.varint(2);
  w.byte(2 << 3);
  w.varint(500_000_000);
  w.end(duration);
  w.end(info);
  w.end(any);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(w.bytes()));
  const { state, exporter } = await grpcSetup();
  state.answer = { error: { code: status.RESOURCE_EXHAUSTED, details: 'slow down', metadata } };
  const error = await rejection(exporter.push(logs(1), never));
  assert.ok(error instanceof RetryableError);
  assert.equal(error.retryAfterMs, 2500);
});

test('gRPC: a connection that has fallen silent is not used again', { timeout: 30_000 }, async () => {
  const { bodies, port } = await grpcSetup();
  const relayed: [Socket, Socket][] = [];
  const relay = createServer((socket) => {
    const onward = connect(port, 'localhost');
    socket.pipe(onward).pipe(socket);
    relayed.push([socket, onward]);
    for (const s of [socket, onward]) s.on('error', () => {});
  });
  await new Promise<void>((resolve) => relay.listen(0, 'localhost', resolve));
  const endpoint = `http://localhost:${(relay.address() as AddressInfo).port}`;
  const exporter = new OtlpExporter(config.parse({ protocol: 'grpc', endpoint, timeout: '500ms' }), testContext());
  cleanups.push(async () => {
    await exporter.stop();
    for (const socket of relayed.flat()) socket.destroy();
    relay.close();
  });
  await exporter.push(logs(7), never);
  // As when the backend's machine is gone: nothing comes back, and nothing says so.
  const [socket, onward] = relayed[0]!;
  socket.unpipe(onward).resume();
  const silent = await rejection(exporter.push(logs(11), never));
  assert.ok(silent instanceof RetryableError && silent.errorType === 'deadline_exceeded', String(silent));
  await exporter.push(logs(13), never);
  assert.deepEqual(
    bodies.map((b) => numbers(b).length),
    [7, 13],
  );
  assert.equal(relayed.length, 2);
});

test('gRPC: a server that is gone is retryable, and an abort ends the call', async () => {
  const { exporter, server } = await grpcSetup();
  await exporter.push(logs(1), never);
  const aborted = await rejection(exporter.push(logs(1), AbortSignal.abort()));
  assert.ok(aborted instanceof RetryableError && aborted.errorType === 'cancelled');
  server.forceShutdown();
  const gone = await rejection(exporter.push(logs(1), never));
  assert.ok(gone instanceof RetryableError, String(gone));
});

// --- config ---

test('an empty section is the defaults; URLs and rules across keys', () => {
  const c = config.parse({});
  assert.equal(urlOf(c, 'metrics').href, 'http://localhost:4318/v1/metrics');
  assert.equal(c.max_request_bytes, 4 * 1024 * 1024);
  assert.deepEqual(check(c), []);
  assert.equal(urlOf(config.parse({ endpoint: 'https://x/otlp/' }), 'logs').href, 'https://x/otlp/v1/logs');
  assert.equal(
    urlOf(config.parse({ logs_endpoint: 'http://loki:3100/otlp/v1/logs' }), 'logs').pathname,
    '/otlp/v1/logs',
  );
  const bad = config.parse({
    endpoint: 'collector:4317',
    protocol: 'grpc',
    compression: 'zstd',
    tls: { cert_file: '/x' },
    auth: { bearer: {}, basic: { username: 'u' } },
    sending_queue: { storage: 'disk' },
  });
  assert.deepEqual(
    check(bad).map((p) => p.path.join('.')),
    ['endpoint', 'auth', 'auth.bearer', 'auth.basic', 'tls', 'sending_queue.directory', 'compression'],
  );
});
