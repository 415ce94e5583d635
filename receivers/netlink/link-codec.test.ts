import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCapture, torture, walk } from '../../host/netlink/capture.ts';
import { LinkState } from './link-changes.ts';
import { type Link, readAddress, readLink, takeRejects } from './link-codec.ts';
import { type NeighbourTable, neighbourClass, neighbourClasses, readNeighbourTable } from './neighbour.ts';

const capture = (name: string) => readCapture(new URL(`testdata/${name}.bin`, import.meta.url));

test('recorded links, addresses and their changes', () => {
  const links = new Map<number, Link>();
  walk(capture('links'), (m) => {
    const link = m.type === 16 ? readLink(m) : undefined;
    if (link) links.set(link.index, link);
  });
  const eth0 = [...links.values()].find((l) => l.name === 'eth0');
  assert.ok(eth0);
  assert.deepEqual([eth0.kind, eth0.mtu, eth0.up, eth0.carrier, eth0.master], ['veth', 1500, true, true, 0]);
  assert.match(eth0.hardwareAddress, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  const addresses: string[] = [];
  walk(capture('addresses'), (m) => {
    const a = m.type === 20 ? readAddress(m) : undefined;
    if (a) addresses.push(a.address);
  });
  assert.ok(addresses.includes('10.90.1.1/24') && addresses.includes('fd00:90::1/64'), String(addresses));
  assert.ok(addresses.includes('127.0.0.1/8'));

  const state = new LinkState(() => false);
  state.replaceLinks(links);
  state.replaceAddresses([{ index: eth0.index, address: '10.90.1.1/24' }]);
  const changes: string[] = [];
  walk(capture('link-events'), (m) => {
    const link = m.type === 16 ? readLink(m) : undefined;
    const address = m.type === 21 ? readAddress(m) : undefined;
    const found = link ? state.updateLink(link) : address ? state.updateAddress(address, false) : [];
    changes.push(...found.map((c) => `${c.name} ${c.change} ${c.before ?? ''}`.trim()));
  });
  assert.deepEqual(changes, ['eth0 carrier_lost', 'eth0 address_removed 10.90.1.1/24']);
  assert.equal(takeRejects(), 0);
});

test('recorded neighbours and tables', () => {
  const counts = new Map<string, number>();
  walk(capture('neighbours'), (m) => {
    const index = neighbourClass(m);
    const name = index < 0 ? String(index) : String(neighbourClasses[index]);
    if (m.type === 28) counts.set(name, (counts.get(name) ?? 0) + 1);
  });
  assert.equal(
    [...counts].filter(([k]) => k.endsWith('reachable') || k.endsWith('permanent')).reduce((n, [, c]) => n + c, 0) >= 2,
    true,
  );
  const tables = new Map<number, NeighbourTable>();
  walk(capture('neighbour-tables'), (m) => {
    if (m.type === 64) assert.equal(readNeighbourTable(m, tables), 0);
  });
  assert.deepEqual([...tables.keys()].sort(), [10, 2]);
  assert.equal(tables.get(2)?.values[1], 1024);
  assert.ok(tables.get(2)?.values.every((v) => v >= 0));
});

test('cut or changed anywhere: no throw', () => {
  torture([...capture('links'), ...capture('link-events')], (m) => void readLink(m));
  torture(capture('addresses'), (m) => void readAddress(m));
  torture(capture('neighbours'), (m) => void neighbourClass(m));
  torture(
    capture('neighbour-tables').map((d) => d.subarray(0, 1200)),
    (m) => void readNeighbourTable(m, new Map()),
  );
  assert.ok(takeRejects() > 0);
});

const link = (patch: Partial<Link> = {}): Link => ({
  index: 2,
  name: 'eth0',
  kind: '',
  mtu: 1500,
  up: true,
  carrier: true,
  hardwareAddress: '02:00:00:00:00:01',
  master: 0,
  carrierUps: 1,
  carrierDowns: 1,
  ...patch,
});
const changesOf = (...links: Link[]) => {
  const state = new LinkState((l) => l.kind === 'veth');
  return links.map((l) => state.replaceLinks(new Map([[l.index, l]])).map((c) => c.change)).slice(1);
};

test('each change is told once, what is ignored never', () => {
  const state = new LinkState((l) => l.kind === 'veth');
  assert.deepEqual(state.updateLink(link()), [], 'before the first dump nothing is known');
  state.replaceLinks(new Map());
  assert.deepEqual(
    state.updateLink(link()).map((c) => c.change),
    ['appeared'],
  );
  assert.deepEqual(state.replaceLinks(new Map([[2, link()]])), []);
  assert.deepEqual(state.updateLink(link({ index: 3, kind: 'veth', name: 'veth1' })), []);
  assert.deepEqual(state.removeLink(3), []);
  assert.deepEqual(state.removeLink(2), [{ name: 'eth0', change: 'removed' }]);
  assert.deepEqual(state.removeLink(2), []);
  assert.deepEqual(state.updateAddress({ index: 2, address: '10.0.0.1/8' }, true), []);
});

test('carrier changes are counted by the kernel where it counts', () => {
  assert.deepEqual(changesOf(link(), link({ carrierDowns: 3, carrierUps: 3 })), [['carrier_lost', 'carrier_gained']]);
  assert.deepEqual(changesOf(link(), link({ carrierDowns: 2, carrier: false })), [['carrier_lost']]);
  const old = { carrierUps: Number.NaN, carrierDowns: Number.NaN };
  assert.deepEqual(changesOf(link(old), link({ ...old, carrier: false }), link(old)), [
    ['carrier_lost'],
    ['carrier_gained'],
  ]);
  assert.deepEqual(changesOf(link(), link({ name: 'lan0', up: false, master: 7 })), [
    ['renamed', 'admin_down', 'master'],
  ]);
});
