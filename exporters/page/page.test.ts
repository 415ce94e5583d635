import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { afterEach, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { ServiceDescription } from '../../pipeline/service-view.ts';
import { testContext } from '../../pipeline/testing.ts';
import { manyPods } from '../../test/interop/many-pods.ts';
import { config } from './config.ts';
import { PageExporter } from './exporter.ts';
import type { EventsMessage, FlowsMessage, PodMessage, PodsMessage } from './messages.ts';
import { hostOf } from './server.ts';
import { ask, openStream, type Stream } from './testing.ts';

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

async function started(input: Record<string, unknown> = {}) {
  let described = 0;
  const description: ServiceDescription = { monotonicMs: 0, pipelines: [], nodes: [], edges: [] };
  const service = {
    describe: () => {
      described++;
      return { ...description, monotonicMs: described };
    },
  };
  const context = testContext({ id: 'page', service });
  const exporter = new PageExporter(config.parse({ endpoint: '127.0.0.1:0', ...input }), context);
  await exporter.start();
  ended.push(() => exporter.stop());
  const url = exporter.url!;
  const open = async <T>(topic: string): Promise<Stream<T>> => {
    const stream = await openStream<T>(url, topic);
    ended.push(() => stream.close());
    return stream;
  };
  /** One update, and everything that follows from it. */
  const tick = async () => {
    context.clock.advance(1000);
    await turn();
  };
  const viewers = () => context.telemetry.read('page_viewers')!;
  const counted = async (n: number) => {
    while (viewers() !== n) await turn();
  };
  return { context, exporter, url, open, tick, viewers, counted, described: () => described };
}

describe('the page over HTTP', () => {
  it('has files, each with a policy that allows nothing from elsewhere', async () => {
    const { url } = await started();
    const files = {
      '/': 'text/html',
      '/app.js': 'text/javascript',
      '/app.css': 'text/css',
      '/licenses.txt': 'text/plain',
    };
    for (const [path, type] of Object.entries(files)) {
      const { status, headers, body } = await ask(url, path);
      assert.equal(status, 200, path);
      assert.ok(headers['content-type']?.startsWith(type), path);
      assert.equal(headers['x-content-type-options'], 'nosniff');
      const policy = headers['content-security-policy'] as string;
      for (const rule of ["default-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"])
        assert.ok(policy.includes(rule), rule);
      assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/);
      assert.ok(body.length > 500, path);
      const again = await ask(url, path, { headers: { 'if-none-match': headers.etag! } });
      assert.deepEqual([again.status, again.body], [304, '']);
    }
    assert.doesNotMatch((await ask(url, '/')).body, /<script(?![^>]* src="\/)|<style| style=| on\w+=|https?:/);
    for (const library of ['uplot', '@dagrejs/dagre', 'd3-sankey'])
      assert.match((await ask(url, '/licenses.txt')).body, new RegExp(`^${library} \\d`, 'm'));
  });

  it('answers GET and HEAD only', async () => {
    const { url } = await started();
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']) {
      for (const path of ['/', '/live/pods']) {
        const { status, headers } = await ask(url, path, { method });
        assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], `${method} ${path}`);
      }
    }
    for (const path of ['/', '/live/pods']) {
      const { status, body } = await ask(url, path, { method: 'HEAD' });
      assert.deepEqual([status, body], [200, ''], path);
    }
  });

  it('knows no path but its own', async () => {
    const { url } = await started();
    const paths = [
      '/../package.json',
      '/..%2f..%2fpackage.json',
      '/%2e%2e/%2e%2e/etc/passwd',
      '//etc/passwd',
      '/app/main.ts',
      '/server.ts',
      '/live/',
      '/live/secrets',
      '/live/pods/more',
      '/live/pod/%ff',
      '/constructor',
      '/__proto__',
    ];
    for (const path of paths) assert.equal((await ask(url, path)).status, 404, path);
    assert.equal((await ask(url, 'http://[')).status, 400);
  });

  it('is not to be read through the name of another site', async () => {
    const { url } = await started({ allowed_hosts: ['Node-A.example'] });
    const { port } = new URL(url);
    const of = async (host: string) => (await ask(url, '/live/nothing', { headers: { host } })).status;
    for (const host of ['localhost', `localhost:${port}`, '127.0.0.1:1', '[::1]:9466', '10.0.0.7', 'node-a.example:80'])
      assert.equal(await of(host), 404, host);
    for (const host of ['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.evil.example'])
      assert.equal(await of(host), 421, host);
    const fromOtherSite = await ask(url, '/live/pods', { headers: { 'sec-fetch-site': 'cross-site' } });
    assert.equal(fromOtherSite.status, 403);
    assert.equal((await ask(url, '/', { headers: { 'sec-fetch-site': 'same-origin' } })).status, 200);
    assert.equal(hostOf('a b'), undefined);
    assert.equal(hostOf('[::1]:80'), '::1');
  });

  it('listens at both addresses of localhost', async () => {
    const { url } = await started({ endpoint: 'localhost:0' });
    assert.match(url, /^http:\/\/127\.0\.0\.1:/);
    const { port } = new URL(url);
    assert.equal((await ask(url, '/icon.svg')).status, 200);
    if (existsSync('/proc/net/if_inet6')) assert.equal((await ask(`http://[::1]:${port}`, '/icon.svg')).status, 200);
  });

  it('says what to do when the address is taken', async () => {
    const { url } = await started();
    const other = new PageExporter(config.parse({ endpoint: url.slice('http://'.length) }), testContext());
    await assert.rejects(other.start(), /Cannot serve the page on 127\.0\.0\.1:\d+: the address is in use\./);
    await other.stop();
  });
});

describe('viewers', () => {
  it('see pods, a pod, events and flows as they are', async () => {
    const { exporter, open, context } = await started();
    const pods = manyPods(50);
    for (let i = 0; i < 3; i++) {
      await pods.collect(exporter, context.clock.nowMs());
      context.clock.advance(15_000);
    }
    const list = await (await open<PodsMessage>('pods')).until(() => true);
    assert.equal(list.pods.length, 50);
    assert.equal(list.node.inTrouble, 3);
    // 7 a collection, of which the first has none before it.
    assert.deepEqual(list.pods[0]!.worst, { label: 'packets dropped', count: 14, reason: 'NETFILTER_DROP' });
    const { pod } = await (await open<PodMessage>(`pod/${encodeURIComponent(list.pods[0]!.key)}`)).until(() => true);
    assert.deepEqual(pod!.drops, [{ labels: ['NETFILTER_DROP', 'nft_do_chain'], recent: 14, total: 21 }]);
    assert.deepEqual(
      pod!.latencies.map((l) => [l.latency, l.count]),
      [['rtt', 10]],
    );
    assert.equal(
      pod!.latencies[0]!.history!.counts.flatMap((row) => row ?? []).reduce((a, b) => a + b, 0),
      10,
    );
    assert.equal(pod!.events.length, 3);
    assert.equal((await (await open<PodMessage>('pod/pod%2Fnobody')).until(() => true)).pod, null);
    const { events, isFirst } = await (await open<EventsMessage>('events?type=packet&pod=web')).until(() => true);
    assert.deepEqual([isFirst, events.length, new Set(events.map((e) => e.pod)).size], [true, 3, 1]);
    const flows = await (await open<FlowsMessage>('flows')).until(() => true);
    assert.deepEqual([flows.observed, flows.flows.length, flows.rest.flows], [true, 50, 0]);
  });

  it('share what is worked out once an interval, and get nothing when nothing is new', async () => {
    const { open, tick, described, exporter, context } = await started();
    await manyPods(7).collect(exporter, context.clock.nowMs());
    const pipelines = await Promise.all(Array.from({ length: 17 }, () => open<ServiceDescription>('pipeline')));
    const lists = await Promise.all(Array.from({ length: 3 }, () => open<PodsMessage>('pods')));
    await Promise.all([...pipelines, ...lists].map((s: Stream<unknown>) => s.until(() => true)));
    assert.equal(described(), 1, 'one for 17 viewers');
    for (let i = 2; i <= 6; i++) {
      await tick();
      await Promise.all(pipelines.map((s) => s.until((m) => m.monotonicMs === i)));
      assert.equal(described(), i);
    }
    for (const list of lists) assert.equal(list.messages.length, 1, 'nothing has happened');
  });

  it('get new events with the next update, those that pass their filter', async () => {
    const { open, tick, exporter, context } = await started();
    const pods = manyPods(47);
    await pods.collect(exporter, context.clock.nowMs());
    const all = await open<EventsMessage>('events');
    const some = await open<EventsMessage>('events?namespace=data&text=8125');
    assert.equal((await all.until(() => true)).events.length, 4);
    assert.equal((await some.until(() => true)).events.length, 2);
    context.clock.advance(1);
    await pods.collect(exporter, context.clock.nowMs());
    await tick();
    const next = await all.until((m) => !m.isFirst);
    assert.deepEqual([next.events.length, next.more], [4, false]);
    assert.deepEqual(
      (await some.until((m) => !m.isFirst)).events.map((e) => e.pod),
      ['images-046', 'search-023'],
    );
  });

  it('cost nothing when there are none', async () => {
    const { open, described, counted, exporter, context } = await started();
    await manyPods(7).collect(exporter, context.clock.nowMs());
    assert.equal(context.clock.pending, 0);
    const stream = await open('pods');
    await stream.until(() => true);
    assert.equal(context.clock.pending, 1);
    stream.close();
    await counted(0);
    // The model stays a minute for the next page, and goes.
    assert.equal(context.clock.pending, 1);
    context.clock.advance(60_000);
    assert.equal(context.clock.pending, 0);
    assert.equal(described(), 0);
  });

  it('are turned away above the limit', async () => {
    const { open, url, context, counted } = await started({ max_viewers: 20 });
    const streams = await Promise.all(Array.from({ length: 20 }, () => open('pods')));
    const { status, headers } = await ask(url, '/live/pods');
    assert.deepEqual([status, headers['retry-after']], [503, '10']);
    assert.equal(context.telemetry.count('page_viewers_cut', { reason: 'too_many' }), 1);
    streams[0]!.close();
    await counted(19);
    assert.equal((await open('pods')).status, 200);
  });

  it('that do not read are passed over, then cut off and counted; others see everything', async () => {
    const { open, tick, counted, exporter, context } = await started();
    const pods = manyPods(250);
    await pods.collect(exporter, context.clock.nowMs());
    const slow = await open<PodsMessage>('pods');
    const quick = await open<PodsMessage>('pods');
    await slow.until(() => true);
    slow.stall();
    let rounds = 0;
    // Until the kernel's buffers are full, and ten seconds more.
    while (context.telemetry.count('page_viewers_cut', { reason: 'slow' }) === 0) {
      assert.ok(++rounds < 500, 'it is never cut off');
      await pods.collect(exporter, context.clock.nowMs());
      await tick();
      const wanted = rounds + 1;
      await quick.until(() => quick.messages.length >= wanted);
    }
    await counted(1);
    assert.equal(context.telemetry.count('page_viewers_cut'), 1);
  });

  it('are let go when the agent stops', async () => {
    const { open, exporter, viewers } = await started();
    const stream = await open('pods');
    await exporter.stop();
    await stream.closed;
    assert.equal(viewers(), 0);
  });
});
