import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { get, metricsBatch, pod, podA, startExporter } from './testing.ts';

const m = defineMetrics({
  'skoop.a': { instrument: 'gauge', unit: '{x}', description: 'A.', source: 't', scope: 'netns' },
});
const small = metricsBatch('x', [{ resource: podA, series: [{ metric: m['skoop.a'], value: 1 }] }]);
/** Some 12 MB of text: more than sockets and the sharing limit hold. */
const large = () => {
  const series = Array.from({ length: 600 }, (_, i) => ({
    metric: m['skoop.a'],
    attributes: { i, filler: 'x'.repeat(100) },
    value: i,
  }));
  return metricsBatch(
    'x',
    Array.from({ length: 83 }, (_, p) => ({ resource: pod(`pod-${p}`, 'n'), series })),
  );
};
const largeSamples = 600 * 83;
const never = new AbortController().signal;
const count = (body: Buffer) =>
  body
    .toString()
    .split('\n')
    .filter((l) => l.startsWith('skoop_a{')).length;

/** Resolves when `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < end, `in time: ${condition}`);
    await turn();
  }
}

describe('HTTP', () => {
  it('answers 503, never an empty 200, before anything was collected', async (t) => {
    const { exporter, context } = await startExporter(t);
    const answer = await get(exporter);
    assert.equal(answer.status, 503);
    assert.equal(answer.body.toString(), 'Nothing has been collected.\n');
    await exporter.push(metricsBatch('x', []));
    const empty = await get(exporter);
    assert.equal(empty.status, 200, 'a source that found no owners is an answer');
    assert.match(empty.body.toString(), /^skoop_source_collection_timestamp_seconds\{skoop_source="x",/m);
    assert.equal(context.telemetry.count('scrapes', { format: 'text', outcome: 'nothing_collected' }), 1);
  });

  it('answers 503 under KubeSkoop’s naming too, as long as nothing has a name there', async (t) => {
    const { exporter } = await startExporter(t, { naming: 'kubeskoop' });
    await exporter.push(small);
    assert.equal((await get(exporter)).status, 503);
  });

  it('serves GET and HEAD of the path and an index page, nothing else', async (t) => {
    const { exporter, context } = await startExporter(t, {
      path: '/m',
      http_server_config: { headers: { 'X-Frame-Options': 'deny' } },
    });
    await exporter.push(small);
    const ok = await get(exporter, { path: '/m?x=1' });
    assert.equal(ok.status, 200);
    assert.equal(ok.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(ok.headers['x-frame-options'], 'deny');
    assert.equal(count(ok.body), 1);
    const head = await get(exporter, { path: '/m', method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    assert.match((await get(exporter, { path: '/' })).body.toString(), /<a href="\/m">/);
    const post = await get(exporter, { path: '/m', method: 'POST' });
    assert.equal(post.status, 405);
    assert.equal(post.headers.allow, 'GET, HEAD');
    assert.equal((await get(exporter, { path: '/metrics' })).status, 404);
    assert.equal(context.telemetry.count('requests_refused', { reason: 'method' }), 1);
    assert.equal(context.telemetry.count('requests_refused', { reason: 'path' }), 1);
    assert.equal(context.telemetry.count('scrape_bytes'), ok.body.length);
  });

  it('compresses when asked, to the same content', async (t) => {
    const { exporter } = await startExporter(t);
    await exporter.push(large());
    const plain = await get(exporter);
    assert.equal(plain.headers['content-encoding'], undefined);
    const gzip = await get(exporter, { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(gzip.headers['content-encoding'], 'gzip');
    assert.ok(gzip.body.length < plain.body.length / 5);
    assert.deepEqual(gunzipSync(gzip.body), plain.body);
    const zstd = await get(exporter, { headers: { 'accept-encoding': 'zstd' } });
    assert.deepEqual(zstdDecompressSync(zstd.body), plain.body);
    assert.equal(count(plain.body), largeSamples);
  });

  it('gives scrapes at the same time the same whole body, at whatever pace they read', async (t) => {
    const { exporter } = await startExporter(t);
    await exporter.push(large());
    const expected = (await get(exporter)).body;
    const encodings: Record<string, string>[] = [
      {},
      { 'accept-encoding': 'gzip' },
      {},
      { 'accept-encoding': 'gzip' },
      {},
    ];
    const answers = await Promise.all(encodings.map((headers) => get(exporter, { headers })));
    for (const { body, headers } of answers) {
      assert.ok((headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).equals(expected));
    }
  });

  it('streams the moment a scrape began with, whatever comes meanwhile', async (t) => {
    const { exporter } = await startExporter(t);
    await exporter.push(large());
    const socket = connect(exporter.port!, '127.0.0.1');
    await once(socket, 'connect');
    socket.pause();
    socket.write('GET /metrics HTTP/1.0\r\n\r\n');
    await until(() => exporter.inFlight === 1);
    await exporter.push(small);
    const chunks: Buffer[] = [];
    socket.on('data', (c: Buffer) => chunks.push(c));
    socket.resume();
    await once(socket, 'end');
    assert.equal(count(Buffer.concat(chunks)), largeSamples);
    assert.equal(count((await get(exporter)).body), 1);
  });

  it('cuts off a scraper that does not read, and counts it', async (t) => {
    const { exporter, context } = await startExporter(t);
    await exporter.push(large());
    const socket = await slowScraper(exporter.port!, 'X-Prometheus-Scrape-Timeout-Seconds: 0.2\r\n');
    await until(() => context.telemetry.count('scrapes', { format: 'text', outcome: 'timeout' }) === 1);
    assert.equal(exporter.inFlight, 0);
    socket.destroy();
  });

  it('lets go of a scraper that hangs up', async (t) => {
    const { exporter, context } = await startExporter(t);
    await exporter.push(large());
    const socket = await slowScraper(exporter.port!);
    await until(() => exporter.inFlight === 1);
    socket.destroy();
    await until(() => context.telemetry.count('scrapes', { format: 'text', outcome: 'disconnected' }) === 1);
    assert.equal(exporter.inFlight, 0);
    assert.equal(count((await get(exporter)).body), largeSamples);
  });

  it('refuses more scrapes at once than it is told to serve', async (t) => {
    const { exporter, context } = await startExporter(t, { max_requests: 2 });
    await exporter.push(large());
    const sockets = [await slowScraper(exporter.port!), await slowScraper(exporter.port!)];
    await until(() => exporter.inFlight === 2);
    const third = await get(exporter);
    assert.equal(third.status, 503);
    assert.equal(third.headers['retry-after'], '5');
    assert.equal(context.telemetry.count('requests_refused', { reason: 'busy' }), 1);
    for (const s of sockets) s.destroy();
    await until(() => exporter.inFlight === 0);
    assert.equal((await get(exporter)).status, 200);
  });

  it('survives what is no HTTP', async (t) => {
    const { exporter } = await startExporter(t);
    await exporter.push(small);
    const socket = connect(exporter.port!, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(Buffer.from([0x16, 3, 1, 0, 0xff, 0, 13, 10, 13, 10]));
    await once(socket, 'close');
    assert.equal((await get(exporter)).status, 200);
  });

  it('stops twice, and before it was started', async (t) => {
    const { exporter } = await startExporter(t);
    const { port } = exporter;
    await exporter.stop(AbortSignal.abort());
    await exporter.stop(AbortSignal.abort());
    await assert.rejects(get({ port }), { code: 'ECONNREFUSED' });
  });

  it('says in one sentence why it cannot listen', async (t) => {
    const { exporter } = await startExporter(t);
    await assert.rejects(startExporter(t, { endpoint: `127.0.0.1:${exporter.port}` }), {
      code: 'E_LISTEN',
      hint: 'Set another `endpoint`, or stop what listens there.',
    });
  });
});

/** Sends a scrape and reads nothing of the answer. */
async function slowScraper(port: number, headers = ''): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET /metrics HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  return socket;
}

describe('unix socket', () => {
  async function directory(t: { after(f: () => Promise<void>): void }): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'skl-prom-'));
    t.after(() => rm(path, { recursive: true }));
    return path;
  }

  it('is served, and its file is gone afterwards', async (t) => {
    const socketPath = join(await directory(t), 'metrics.sock');
    const { exporter } = await startExporter(t, { endpoint: `unix://${socketPath}` });
    await exporter.push(small);
    assert.equal((await get({ socketPath })).status, 200);
    await exporter.stop(never);
    assert.equal(existsSync(socketPath), false);
  });

  it('takes the place of a socket that nobody answers on, and of nothing else', async (t) => {
    const folder = await directory(t);
    const stale = join(folder, 'stale.sock');
    const dead = createServer().listen(stale);
    await once(dead, 'listening');
    const alive = join(folder, 'alive.sock');
    const living = createServer((s) => s.destroy()).listen(alive);
    await once(living, 'listening');
    // What a killed process leaves: the file, with no listener behind it.
    const { linkSync } = await import('node:fs');
    linkSync(stale, join(folder, 'left.sock'));
    dead.close();
    await once(dead, 'close');
    const { exporter } = await startExporter(t, { endpoint: `unix://${join(folder, 'left.sock')}` });
    await exporter.push(small);
    assert.equal((await get({ socketPath: join(folder, 'left.sock') })).status, 200);

    await assert.rejects(startExporter(t, { endpoint: `unix://${alive}` }), /Another process listens/);
    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    await assert.rejects(startExporter(t, { endpoint: `unix://${file}` }), /exists and is no socket/);
    living.close();
  });
});
