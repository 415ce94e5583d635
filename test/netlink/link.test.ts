import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { NetlinkSubscription } from '../../host/netlink/subscription.ts';
import type { LogRecord } from '../../pipeline/batch.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { LinkScraper } from '../../receivers/netlink/link.ts';
import { linkGroups } from '../../receivers/netlink/link-codec.ts';
import { LinkTables } from '../../receivers/netlink/link-table.ts';
import { Round } from '../../receivers/netlink/round.ts';
import { bench, infoOf, join, NamedNetns, readingOf, realContext, until } from './support.ts';

test('what changes on a pod’s interface between two rounds is told, flaps with their number', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.81.1');
  const { round, records, context } = bench();
  const first = (await round(a)).get('netlink/link');
  const down = { 'network.interface.name': 'eth0', 'skoop.link.carrier': 'down' };
  const before = readingOf(first, a, 'skoop.link.carrier_changes', down) ?? Number.NaN;
  assert.equal(records.length, 0, 'what is there at the start is no change');
  for (let i = 0; i < 3; i++) {
    b.ip('link', 'set', 'eth0', 'down');
    b.ip('link', 'set', 'eth0', 'up');
  }
  a.ip('link', 'set', 'eth0', 'mtu', '1400');
  a.ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:42');
  a.ip('addr', 'add', '10.81.9.1/32', 'dev', 'eth0');
  a.ip('addr', 'del', '10.81.1.1/24', 'dev', 'eth0');
  a.ip('link', 'add', 'bridge7', 'type', 'bridge');
  const second = (await round(a)).get('netlink/link');
  assert.equal((readingOf(second, a, 'skoop.link.carrier_changes', down) ?? 0) - before, 3);
  const changes = records
    .map((r) => ({ ...r.attributes }))
    .filter((r) => !String(r['skoop.link.after'] ?? r['skoop.link.before']).startsWith('fe80'))
    .map((r) => [
      r['network.interface.name'],
      r['skoop.link.change'],
      r['skoop.link.after'] ?? r['skoop.link.before'],
      r['skoop.link.count'],
    ]);
  assert.deepEqual(
    new Set(changes.map(String)),
    new Set(
      [
        ['bridge7', 'appeared', undefined, undefined],
        ['eth0', 'carrier_lost', undefined, 3],
        ['eth0', 'carrier_gained', undefined, 3],
        ['eth0', 'mtu', '1400', undefined],
        ['eth0', 'hardware_address', '02:00:00:00:00:42', undefined],
        ['eth0', 'address_added', '10.81.9.1/32', undefined],
        ['eth0', 'address_removed', '10.81.1.1/24', undefined],
      ].map(String),
    ),
  );
  assert.ok(records.every((r) => r.owner?.netns === a.inode));
  records.length = 0;
  a.ip('link', 'del', 'bridge7');
  b.ip('link', 'set', 'eth0', 'down');
  await round(a);
  assert.deepEqual(
    records.map((r) => r.body),
    ['Interface eth0: carrier lost.', 'Interface bridge7: removed.'],
  );
  assert.deepEqual(context.telemetry.rejections, {});
});

/** A link scraper of one namespace that hears its multicast messages. */
async function listening(ns: NamedNetns) {
  const records: LogRecord[] = [];
  const scraper = new LinkScraper(
    () => true,
    new LinkTables(),
    systemClock,
    (r) => records.push(...r),
  );
  const round = new Round(realContext(), { name: 'test' }, () => undefined);
  const info = infoOf(ns);
  const look = () => round.run([{ name: 'link', scraper }], [info]);
  await look();
  const heard = { unreadable: 0 };
  const subscription = new NetlinkSubscription(
    { protocol: NetlinkProtocol.route, netns: ns.path, groups: linkGroups },
    {
      message: (message) => {
        if (!scraper.message(info, message)) heard.unreadable++;
      },
      overflow: () => assert.fail('overflow'),
      error: (error) => assert.fail(String(error)),
    },
  );
  return { records, look, heard, subscription };
}

test('multicast tells a change when it happens, and the next round does not tell it again', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.81.2');
  const { records, look, heard, subscription } = await listening(a);
  a.ip('link', 'set', 'eth0', 'mtu', '1400');
  a.ip('addr', 'add', '10.81.9.1/32', 'dev', 'eth0');
  b.ip('link', 'set', 'eth0', 'down');
  await until('three changes', () => records.length >= 3);
  await look();
  subscription.close();
  assert.deepEqual(
    records.map((r) => r.body),
    [
      'Interface eth0: mtu: 1500 → 1400.',
      'Interface eth0: address added: none → 10.81.9.1/32.',
      'Interface eth0: carrier lost.',
    ],
  );
  assert.deepEqual([heard.unreadable, subscription.lost, subscription.malformed], [0, 0, 0]);
});

test('what a bridge says of its ports is not taken for a lost carrier or a removed interface', async () => {
  using a = new NamedNetns();
  using b = new NamedNetns();
  join(a, 'eth0', b, 'eth0', '10.81.3');
  a.ip('link', 'add', 'bridge7', 'up', 'type', 'bridge');
  const { records, look, heard, subscription } = await listening(a);
  for (let i = 0; i < 3; i++) {
    a.ip('link', 'set', 'eth0', 'master', 'bridge7');
    a.ip('link', 'set', 'eth0', 'nomaster');
  }
  a.ip('link', 'set', 'eth0', 'mtu', '1400');
  const ofPort = () => records.filter((r) => r.attributes['network.interface.name'] === 'eth0').map((r) => r.body);
  await until('the last change', () => ofPort().some((body) => body.includes('mtu')));
  await look();
  subscription.close();
  const joined = 'Interface eth0: master: none → bridge7.';
  const left = 'Interface eth0: master: bridge7 → none.';
  assert.deepEqual(ofPort(), [joined, left, joined, left, joined, left, 'Interface eth0: mtu: 1500 → 1400.']);
  assert.deepEqual([heard.unreadable, subscription.lost, subscription.malformed], [0, 0, 0]);
});
