import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkConfig, config } from './config.ts';
import netlink from './index.ts';
import { events, metrics } from './metrics.ts';

test('an empty section gives the defaults', () => {
  const c = config.parse({});
  assert.equal(c.collection_interval, 15_000);
  assert.equal(c.scrapers.conntrack.events.enabled, false);
  assert.equal(c.scrapers.conntrack.events.receive_buffer, 8 * 1024 * 1024);
  assert.equal(c.scrapers.tcp_info.worst_peers.min_rtt, 100);
  assert.deepEqual(checkConfig(c), []);
});

test('unknown keys and metrics are errors', () => {
  assert.ok(!config.safeParse({ scrapers: { contrack: {} } }).success);
  assert.ok(!config.safeParse({ scrapers: { conntrack: { events: { types: [] } } } }).success);
  assert.deepEqual(checkConfig(config.parse({ metrics: { 'skoop.conntrack.entriess': { enabled: false } } })), [
    {
      path: ['metrics', 'skoop.conntrack.entriess'],
      message: "this receiver has no metric 'skoop.conntrack.entriess'",
    },
  ]);
});

test('the catalogue: names are unique, sentences end, KubeSkoop has its names', () => {
  const names = [...metrics.map((m) => m.name), ...events.map((e) => e.name)];
  assert.equal(new Set(names).size, names.length);
  for (const m of [...metrics, ...events]) assert.match(m.description, /^[A-Z].*\.$/, m.name);
  const kubeskoop = new Set(metrics.flatMap((m) => m.kubeskoop ?? []).map((k) => k.name));
  for (const name of 'found invalid ignore insert insertfailed drop earlydrop error searchrestart entries maxentries'.split(
    ' ',
  )) {
    assert.ok(kubeskoop.has(`kubeskoop_conntrack_${name}`), name);
  }
  for (const name of 'bytes packets drops qlen backlog overlimits'.split(' '))
    assert.ok(kubeskoop.has(`kubeskoop_qdisc_${name}`), name);
  assert.equal(netlink.type, 'netlink');
});
