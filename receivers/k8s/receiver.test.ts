import assert from 'node:assert/strict';
import { describe, type TestContext as NodeTest, test } from 'node:test';
import type { EntitiesBatch, PeerEntity } from '../../pipeline/batch.ts';
import { type Recording, record, type TestContext, testContext } from '../../pipeline/testing.ts';
import { waitFor } from '../../test/bed/command.ts';
import { checkConfig, config } from './config.ts';
import { createReceiver } from './receiver.ts';
import { FakeApi, type FakeApiOptions, nodeObject, podObject, serviceObject } from './testing.ts';
import { kubeconfigOf } from './testing-files.ts';

interface Started {
  readonly api: FakeApi;
  readonly context: TestContext;
  readonly recording: Recording;
  /** Peers of the last list, as `kind namespace/name ips`. */
  readonly names: () => string[];
  readonly peers: () => readonly PeerEntity[];
  /** Lets virtual time pass in steps until it is so, with real time for the sockets in between. */
  readonly until: (what: string, met: () => unknown, stepMs?: number) => Promise<unknown>;
}

async function start(
  t: NodeTest,
  prepare: (api: FakeApi) => void = () => {},
  settings: object = {},
  options: FakeApiOptions = {},
): Promise<Started> {
  const api = new FakeApi(options);
  prepare(api);
  const context = testContext({ id: 'k8s', node: 'node-a' });
  const kubeconfig = kubeconfigOf(t, { server: await api.start() });
  const recording = record(createReceiver(config.parse({ kubeconfig, timeout: '10m', ...settings }), context).run());
  t.after(async () => {
    recording.subscription.unsubscribe();
    await api.stop();
    assert.notEqual(recording.ended, 'error', String(recording.error));
    assert.equal(context.clock.pending, 0, 'timers are left');
  });
  const peers = () => ((recording.values.at(-1) as EntitiesBatch | undefined)?.entities ?? []) as PeerEntity[];
  const names = () =>
    peers()
      .map((p) => `${p.peer} ${p.namespace}/${p.name} ${p.ips.join()}`)
      .sort();
  const look = async (met: () => unknown, stepMs: number) => {
    await context.clock.run(stepMs);
    return met();
  };
  const until: Started['until'] = (what, met, stepMs = 250) => waitFor(what, () => look(met, stepMs), { everyMs: 3 });
  return { api, context, recording, names, peers, until };
}

const cluster = (api: FakeApi) => {
  api.put('nodes', nodeObject('node-a', '192.0.2.10', 'zone-1'), nodeObject('node-b', '192.0.2.11', 'zone-2'));
  api.put('services', serviceObject('web', ['10.96.0.7', 'fd00:0:0::7']), serviceObject('headless', ['None']));
  api.put(
    'pods',
    podObject({
      name: 'web-6d4b75cb6d-hwd5b',
      uid: 'web-1',
      ips: ['10.1.0.7', 'fd00:1::7'],
      labels: { 'pod-template-hash': '6d4b75cb6d' },
      owner: { kind: 'ReplicaSet', name: 'web-6d4b75cb6d' },
    }),
    podObject({
      name: 'cart-0',
      uid: 'cart-0',
      ips: ['10.1.0.9'],
      node: 'node-a',
      owner: { kind: 'StatefulSet', name: 'cart' },
      labels: { app: 'cart' },
      annotations: { team: 'pay' },
    }),
    podObject({
      name: 'proxy-x7k2p',
      uid: 'proxy',
      ips: ['192.0.2.11'],
      hostNetwork: true,
      owner: { kind: 'DaemonSet', name: 'proxy' },
    }),
    podObject({
      name: 'agent-x7k2q',
      uid: 'agent',
      ips: ['192.0.2.10'],
      hostNetwork: true,
      node: 'node-a',
      owner: { kind: 'DaemonSet', name: 'agent' },
    }),
    podObject({ name: 'done-29454243-abcde', uid: 'done', ips: ['10.1.0.33'], phase: 'Succeeded' }),
    podObject({ name: 'waiting', uid: 'waiting', phase: 'Pending' }),
  );
};
const everything = [
  'node /node-a 192.0.2.10',
  'node /node-b 192.0.2.11',
  'pod shop/agent-x7k2q ',
  'pod shop/cart-0 10.1.0.9',
  'pod shop/web-6d4b75cb6d-hwd5b 10.1.0.7,fd00:1::7',
  'service shop/web 10.96.0.7,fd00::7',
];

for (const [how, options, settings] of [
  ['streamed', {}, {}],
  ['in pages of 2, asked for', {}, { streaming_list: false, page_size: 2 }],
  ['in pages, since the server refuses to stream', { streaming: 'refuse' }, { page_size: 1 }],
] as const) {
  describe(`a cluster, ${how}`, () => {
    test('all of it in one list, and each change in the next', async (t) => {
      const s = await start(t, cluster, settings, options);
      await s.until('the first list', () => s.recording.values.length === 1);
      assert.deepEqual(s.names(), everything);
      await s.until('the watches', () => s.api.watches.length === 3);
      s.api.put('pods', podObject({ name: 'new', uid: 'new', ips: ['10.1.0.99'] }));
      s.api.delete('pods', 'web-1');
      await s.until('the change', () => s.names().includes('pod shop/new 10.1.0.99'));
      assert.deepEqual(
        s.names(),
        [...everything.filter((n) => !n.includes('web-6d')), 'pod shop/new 10.1.0.99'].sort(),
      );
    });
  });
}

test('a pod has its workload, its node and, on this node, its labels; what is alike is one object', async (t) => {
  const s = await start(t, cluster);
  await s.until('the first list', () => s.recording.values.length === 1);
  const of = (name: string) => s.peers().find((p) => p.name === name);
  assert.deepEqual(of('web-6d4b75cb6d-hwd5b'), {
    kind: 'peer',
    peer: 'pod',
    uid: 'web-1',
    name: 'web-6d4b75cb6d-hwd5b',
    namespace: 'shop',
    createdAtMs: Date.UTC(2026, 0, 2, 3),
    ips: ['10.1.0.7', 'fd00:1::7'],
    workload: {
      kind: 'Deployment',
      name: 'web',
      attributes: { 'k8s.deployment.name': 'web', 'k8s.replicaset.name': 'web-6d4b75cb6d' },
    },
    node: 'node-b',
  });
  assert.deepEqual(of('cart-0')?.labels, { app: 'cart' });
  assert.deepEqual(of('cart-0')?.annotations, { team: 'pay' });
  assert.equal(of('node-b')?.zone, 'zone-2');
  const before = of('cart-0');
  s.api.put('pods', podObject({ name: 'another', ips: ['10.1.0.98'], owner: { kind: 'StatefulSet', name: 'cart' } }));
  await s.until('the change', () => of('another'));
  assert.equal(of('cart-0'), before);
  assert.equal(of('another')?.workload, before?.workload);
});

test('a change that touches nothing of what is kept sends nothing; many at once send one list', async (t) => {
  const s = await start(t, cluster);
  await s.until('the watches', () => s.recording.values.length === 1 && s.api.watches.length === 3);
  const web = podObject({
    name: 'web-6d4b75cb6d-hwd5b',
    uid: 'web-1',
    ips: ['10.1.0.7', 'fd00:1::7'],
    labels: { 'pod-template-hash': '6d4b75cb6d' },
    owner: { kind: 'ReplicaSet', name: 'web-6d4b75cb6d' },
  });
  web.status.conditions = [{ type: 'Ready', status: 'False' }];
  s.api.put('pods', web);
  await s.until(
    'the event',
    () => s.context.telemetry.count('k8s_watch_events', { resource: 'pods', type: 'MODIFIED' }) === 1,
  );
  await s.context.clock.run(5000);
  assert.equal(s.recording.values.length, 1);
  for (let i = 0; i < 23; i++) s.api.put('pods', podObject({ name: `burst-${i}`, ips: [`10.2.0.${i}`] }));
  await s.until(
    'the events',
    () => s.context.telemetry.count('k8s_watch_events', { resource: 'pods', type: 'ADDED' }) === 5 + 23,
  );
  await s.context.clock.run(5000);
  assert.equal(s.recording.values.length, 2);
  assert.equal(s.peers().length, everything.length + 23);
});

test('a watch that ends goes on from where it was, bookmarks included', async (t) => {
  const s = await start(t, cluster);
  await s.until('the watches', () => s.api.watches.length === 3);
  s.api.bookmark('pods');
  await s.until(
    'the bookmark',
    () => s.context.telemetry.count('k8s_watch_events', { resource: 'pods', type: 'BOOKMARK' }) === 2,
  );
  s.api.endWatches('pods');
  await s.until(
    'the watch',
    () => s.api.requests.filter((r) => r.path.endsWith('pods')).length === 2 && s.api.watches.length === 3,
  );
  const again = s.api.requests.filter((r) => r.path.endsWith('pods'))[1]!;
  assert.equal(Number(again.query.get('resourceVersion')) > 1010, true, again.query.toString());
  assert.equal(again.query.get('sendInitialEvents'), null);
});

test('410: everything is asked for again, and what went meanwhile is gone', async (t) => {
  const s = await start(t, cluster);
  await s.until('the first list', () => s.recording.values.length === 1 && s.api.watches.length === 3);
  s.api.failNext({ cut: true }, (r) => r.path.endsWith('pods'));
  s.api.endWatches('pods');
  s.api.delete('pods', 'cart-0');
  s.api.compact('pods');
  await s.until('the new list', () => s.names().length === everything.length - 1);
  assert.deepEqual(
    s.names(),
    everything.filter((n) => !n.includes('cart-0')),
  );
  assert.equal(s.context.telemetry.rejections['version_gone'], 1);
  await s.until(
    'the watch',
    () =>
      s.context.telemetry.recoveries.includes('pods') ||
      s.context.telemetry.read('k8s_stale', { resource: 'pods' }) === 0,
  );
});

test('410 in the middle of the pages begins them again', async (t) => {
  const s = await start(
    t,
    (api) => {
      cluster(api);
      api.failNext({ status: 410 }, (r) => r.query.get('continue') !== null && r.path.endsWith('pods'));
    },
    { streaming_list: false, page_size: 2 },
  );
  await s.until('the first list', () => s.recording.values.length === 1);
  assert.deepEqual(s.names(), everything);
});

describe('trouble', () => {
  test('403 of one resource: the others are there, it is counted and asked again after the longest wait', async (t) => {
    const s = await start(t, (api) => {
      cluster(api);
      for (let i = 0; i < 2; i++) api.failNext({ status: 403 }, (r) => r.path.endsWith('services'));
    });
    await s.until('the first list', () => s.recording.values.length === 1);
    assert.deepEqual(
      s.names(),
      everything.filter((n) => !n.startsWith('service')),
    );
    assert.match(String(s.context.telemetry.failures[0]?.error), /403: told to fail/);
    assert.equal(s.context.telemetry.failures[0]?.what, 'services');
    const tries = () => s.api.requests.filter((r) => r.path.endsWith('services')).length;
    const firstMs = s.context.clock.monotonicMs();
    await s.until('another try', () => tries() === 2);
    assert.ok(s.context.clock.monotonicMs() - firstMs >= 20_000, `${s.context.clock.monotonicMs() - firstMs}`);
    await s.until('the services', () => s.names().length === everything.length);
    assert.ok(s.context.telemetry.recoveries.includes('services'));
  });

  test('429: not before the time that Retry-After gives', async (t) => {
    const s = await start(t, (api) => {
      cluster(api);
      api.failNext({ status: 429, headers: { 'retry-after': '17' } }, (r) => r.path.endsWith('pods'));
    });
    const tries = () => s.api.requests.filter((r) => r.path.endsWith('pods')).length;
    await s.until('the first try', () => s.context.telemetry.failures.length === 1);
    const firstMs = s.context.clock.monotonicMs();
    await s.until('another try', () => tries() === 2);
    assert.ok(s.context.clock.monotonicMs() - firstMs >= 17_000 - 250);
    await s.until('all', () => s.names().length === everything.length);
  });

  test('waits grow from half a second to a minute, and the server is asked again when it is back', async (t) => {
    const s = await start(t, cluster, { pods: false, services: false });
    await s.until('the first list', () => s.recording.values.length === 1 && s.api.watches.length === 1);
    const { port } = s.api;
    await s.api.stop();
    const atMs: number[] = [];
    await s.until('seven failures', () => {
      for (let i = atMs.length; i < s.context.telemetry.failures.length; i++) atMs.push(s.context.clock.monotonicMs());
      return atMs.length >= 8;
    });
    // FakeClock's random is 0.5: three quarters of 1, 2, 4 … 60 s; steps of 250 ms.
    const waits = atMs.slice(1).map((ms, i) => ms - atMs[i]!);
    assert.ok(waits.at(-1)! >= 45_000 && waits.at(-1)! <= 46_000, waits.join());
    assert.ok(waits[0]! <= 2000, waits.join());
    assert.ok((s.context.telemetry.read('k8s_stale', { resource: 'nodes' }) ?? 0) > 60);
    assert.equal(s.names().length, 2, 'what was known stays');
    const back = new FakeApi();
    // Its versions are far beyond those we had.
    for (let i = 0; i < 100; i++) back.put('nodes', nodeObject('node-a', '192.0.2.10'));
    back.compact('nodes');
    await back.start(port);
    t.after(() => back.stop());
    await s.until('the new list', () => s.names().length === 1);
    await s.until('the recovery', () => s.context.telemetry.recoveries.length === 1);
    assert.equal(s.context.telemetry.read('k8s_stale', { resource: 'nodes' }), 0);
  });

  test('what nobody confirms for keep_last is not known any more', async (t) => {
    const s = await start(t, cluster, { keep_last: '10m' });
    await s.until('the first list', () => s.recording.values.length === 1 && s.api.watches.length === 3);
    await s.api.stop();
    await s.context.clock.run(500_000);
    assert.equal(s.names().length, everything.length);
    await s.until('the end of the time', () => s.names().length === 0, 5000);
  });

  test('a server that takes the connection and says nothing is given up', async (t) => {
    const s = await start(
      t,
      (api) => {
        cluster(api);
        api.failNext({ silent: true }, (r) => r.path.endsWith('nodes'));
      },
      { timeout: '20s' },
    );
    await s.until('the first list, without nodes', () => s.recording.values.length === 1);
    assert.equal(
      s.names().some((n) => n.startsWith('node')),
      false,
    );
    await s.until('the nodes', () => s.names().length === everything.length);
    assert.match(String(s.context.telemetry.failures[0]?.error), /did not answer in time/);
  });

  test('a watch that has fallen silent for three minutes is made anew', async (t) => {
    const s = await start(t, cluster);
    await s.until('the watches', () => s.api.watches.length === 3);
    const before = s.api.requests.length;
    await s.context.clock.run(179_000);
    assert.equal(s.api.requests.length, before);
    await s.until('new watches', () => s.api.requests.length === before + 3);
  });

  test('cut connections: nothing is lost that was written meanwhile', async (t) => {
    const s = await start(t, cluster);
    await s.until('the watches', () => s.recording.values.length === 1 && s.api.watches.length === 3);
    for (let i = 0; i < 7; i++) {
      const half = JSON.stringify({ type: 'ADDED', object: podObject({ name: 'half', ips: ['10.9.9.9'] }) });
      s.api.say('pods', half.slice(0, 40 + i));
      s.api.cutConnections();
      s.api.put('pods', podObject({ name: `written-${i}`, ips: [`10.3.0.${i}`] }));
      await s.until('the watches again', () => s.api.watches.length === 3);
    }
    await s.until('all', () => s.names().length === everything.length + 7);
    assert.equal(
      s.names().some((n) => n.includes('half')),
      false,
    );
  });

  for (const [what, text] of [
    ['no JSON', 'this is no JSON\n'],
    ['JSON cut short', '{"type":"ADDED","object":{"metadata":\n'],
    ['null', 'null\n'],
    ['an unknown type', '{"type":"EXPLODED","object":{}}\n'],
    ['an object without identity', '{"type":"ADDED","object":{"metadata":{"name":7}}}\n'],
    ['a type that is no text', '{"type":{},"object":[]}\n'],
    [
      '__proto__',
      '{"type":"ADDED","object":{"metadata":{"uid":"p","name":"p","labels":{"__proto__":{"x":1}}},"__proto__":{"y":1}}}\n',
    ],
    ['empty lines', '\n\n\n'],
  ] as const) {
    test(`a line that is ${what} does no harm to the next`, async (t) => {
      const s = await start(t, cluster);
      await s.until('the watches', () => s.recording.values.length === 1 && s.api.watches.length === 3);
      s.api.say('pods', text);
      s.api.put('pods', podObject({ name: 'after', ips: ['10.1.0.99'] }));
      await s.until('the next', () => s.names().includes('pod shop/after 10.1.0.99'));
      assert.equal(s.api.requests.length, 3, 'the watch lives on');
    });
  }

  test('after a line that was no JSON everything is asked for again when the watch ends', async (t) => {
    const s = await start(t, cluster);
    await s.until('the watches', () => s.api.watches.length === 3);
    s.api.say('pods', 'garbage\n');
    await s.until('the count', () => s.context.telemetry.rejections['bad_json'] === 1);
    s.api.endWatches('pods');
    await s.until('the request', () => s.api.requests.length === 4);
    assert.equal(s.api.requests[3]!.query.get('sendInitialEvents'), 'true');
  });

  test('an object that is too big is skipped and counted, not kept', async (t) => {
    const s = await start(t, cluster, { max_object_bytes: '64KiB' });
    await s.until('the watches', () => s.recording.values.length === 1 && s.api.watches.length === 3);
    s.api.put('pods', podObject({ name: 'huge', ips: ['10.1.0.66'], annotations: { blob: 'x'.repeat(1_000_000) } }));
    s.api.put('pods', podObject({ name: 'after', ips: ['10.1.0.99'] }));
    await s.until('the next', () => s.names().includes('pod shop/after 10.1.0.99'));
    assert.equal(
      s.names().some((n) => n.includes('huge')),
      false,
    );
    assert.equal(s.context.telemetry.rejections['object_too_big'], 1);
  });

  test('a list that is no list, or too long, is a failure and asked again', async (t) => {
    const s = await start(
      t,
      (api) => {
        cluster(api);
        for (const text of [
          '[]',
          '{"kind":"PodList"}',
          '{"metadata":{"resourceVersion":"1"},"items":{}}',
          '{"items":',
          'x'.repeat(300_000),
        ])
          api.failNext({ text }, (r) => r.path.endsWith('pods'));
      },
      { streaming_list: false, max_object_bytes: '4KiB' },
    );
    await s.until('all', () => s.names().length === everything.length);
    assert.equal(s.context.telemetry.failures.length, 5);
    assert.match(String(s.context.telemetry.failures.at(-1)?.error), /longer than 262144 bytes/);
  });

  test('a server that does not know how to stream and never says so is asked for pages later', async (t) => {
    const s = await start(t, cluster, {}, { streaming: 'ignore' });
    await s.until('a first list after the longest wait for it', () => s.recording.values.length === 1);
    assert.deepEqual(s.names(), everything);
    await s.until('the watches', () => s.api.watches.length === 3);
    for (const r of ['pods', 'services', 'nodes'] as const) s.api.endWatches(r);
    await s.until('the pages', () => s.api.requests.filter((r) => r.query.has('limit')).length === 3);
    assert.deepEqual(s.names(), everything);
  });
});

test('over max_peers the pods of other nodes that were written least recently go, and are counted', async (t) => {
  const s = await start(t, cluster, { max_peers: everything.length });
  await s.until('the watches', () => s.recording.values.length === 1 && s.api.watches.length === 3);
  for (let i = 0; i < 7; i++) s.api.put('pods', podObject({ name: `more-${i}`, ips: [`10.3.0.${i}`] }));
  await s.until('the last', () => s.names().includes('pod shop/more-6 10.3.0.6'));
  assert.deepEqual(s.names(), [...everything.filter((n) => !n.includes('web-6d')), 'pod shop/more-6 10.3.0.6'].sort());
  assert.equal(s.context.telemetry.drops['too_many_peers'], 7);
  assert.equal(s.context.telemetry.read('k8s_peers', { resource: 'pods' }), 3);
});

test('what makes no sense in the config is said', () => {
  const problems = (o: object) => checkConfig(config.parse(o)).map((p) => p.path.join());
  assert.deepEqual(problems({ context: 'x' }), ['context']);
  assert.deepEqual(problems({ pods: false, services: false, nodes: false }), ['pods']);
  assert.deepEqual(problems({ emit_interval: '1ms', timeout: '1ms' }), ['emit_interval', 'timeout']);
  assert.deepEqual(problems({}), []);
});
