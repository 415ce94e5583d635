import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { RetryableError } from '../../pipeline/component.ts';
import { RefusedError } from '../../pipeline/http-push/index.ts';
import { Backend } from '../../pipeline/http-push/testing.ts';
import { testContext } from '../../pipeline/testing.ts';
import { check, config, urlOf } from './config.ts';
import { OtlpExporter } from './exporter.ts';
import { logs, never, numbers, partial, recordsOf, rejection } from './testdata/pushes.ts';

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const f of cleanups.reverse()) await f();
});

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
