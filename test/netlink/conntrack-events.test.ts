import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BehaviorSubject } from 'rxjs';
import { netnsCookie } from '../../host/netns/cookie.ts';
import type { LogRecord } from '../../pipeline/batch.ts';
import { ConntrackEvents } from '../../receivers/netlink/conntrack-events.ts';
import {
  bench,
  fillConntrack,
  infoOf,
  join,
  NamedNetns,
  parse,
  readingOf,
  realContext,
  sendUdp,
  until,
} from './support.ts';

function listen(ns: NamedNetns, events: object) {
  const context = realContext();
  const records: LogRecord[] = [];
  const resyncs = new BehaviorSubject(0);
  const config = parse({ scrapers: { conntrack: { events: { namespaces: 'all', rate_limit: 0, ...events } } } });
  const listener = new ConntrackEvents(
    config.scrapers.conntrack.events,
    context,
    (r) => records.push(...r),
    () => resyncs.next(resyncs.value + 1),
  );
  const info = infoOf(ns);
  listener.sync([info]);
  return {
    records,
    resyncs,
    context,
    listener,
    info,
    received: () => context.telemetry.count('conntrack_events'),
    lost: () => context.telemetry.drops['kernel_buffer_full'] ?? 0,
  };
}

test('50 000 events are all received, at full speed', async () => {
  using ns = new NamedNetns();
  const l = listen(ns, { types: ['new'], receive_buffer: '64MiB' });
  for (let i = 0; i < 50_000; i += 5000) {
    fillConntrack(ns, 5000, { from: i });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until('all events', () => l.received() + l.lost() >= 50_000);
  l.listener.close();
  assert.equal(l.received() + l.lost(), 50_000);
  assert.equal(l.lost(), 0);
  assert.equal(l.records.filter((r) => r.eventName === 'skoop.conntrack.new').length, 50_000);
});

test('after an overflow: received and lost are sent, and the table is read again', async () => {
  using ns = new NamedNetns();
  const l = listen(ns, { types: ['new'], receive_buffer: '256KiB' });
  // Without giving way: nothing is read meanwhile.
  fillConntrack(ns, 50_000);
  await until('an overflow', () => l.resyncs.value > 0);
  // The kernel delivers again once what it kept has been read.
  await until('the socket to be empty', () => {
    l.listener.sync([l.info]);
    return l.received() + l.lost() === 50_000;
  });
  fillConntrack(ns, 7, { from: 60_000 });
  await until('the events after', () => l.received() + l.lost() === 50_007);
  l.listener.close();
  assert.ok(l.lost() > 0 && l.received() > 7, `received ${l.received()}, lost ${l.lost()}`);
  assert.equal(l.received() + l.lost(), 50_007);
  const told = l.records.filter((r) => r.eventName === 'skoop.conntrack.events_lost');
  assert.equal(
    told.reduce((sum, r) => sum + Number(r.attributes['skoop.lost']), 0),
    l.lost(),
  );
  // What the loss calls for: the table by dump is right.
  const { round } = bench({ scrapers: { conntrack: { max_entries: 100_000 } } });
  const batch = (await round(ns)).get('netlink/conntrack');
  const udp = { 'network.transport': 'udp', 'skoop.conntrack.state': 'unreplied' };
  assert.equal(readingOf(batch, ns, 'skoop.conntrack.connections', udp), 50_007);
});

test('the rate limit drops what is above it, and counts it', async () => {
  using ns = new NamedNetns();
  const l = listen(ns, { types: ['new'], rate_limit: 100, receive_buffer: '8MiB' });
  fillConntrack(ns, 1000);
  await until('all events', () => l.received() === 1000);
  l.listener.close();
  const kept = l.records.length;
  assert.ok(kept >= 100 && kept < 500, `kept ${kept}`);
  assert.equal(kept + (l.context.telemetry.drops['rate_limit'] ?? 0), 1000);
});

test('a real connection under DNAT: new, update, destroy with both tuples, state, NAT and counters', async () => {
  using ns = new NamedNetns();
  using peer = new NamedNetns();
  join(ns, 'eth0', peer, 'eth0', '10.79.1');
  ns.exec('sysctl', '-qw', 'net.netfilter.nf_conntrack_acct=1');
  ns.exec(
    'nft',
    'add table ip skl; add chain ip skl out { type nat hook output priority -100; }; add rule ip skl out udp dport 53 dnat to 10.79.1.2:5353',
  );
  ns.ip('neigh', 'replace', '10.79.1.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth0');
  ns.ip('route', 'add', '192.0.2.0/24', 'via', '10.79.1.2');
  const l = listen(ns, { types: ['new', 'update', 'destroy'] });
  assert.equal(sendUdp(ns, '192.0.2.7', [53], 72), 1);
  await until('the new event', () => l.records.length >= 1);
  ns.exec('conntrack', '-D', '-p', 'udp');
  await until('the destroy event', () => l.records.some((r) => r.eventName === 'skoop.conntrack.destroy'));
  l.listener.close();
  const began = l.records.find((r) => r.eventName === 'skoop.conntrack.new');
  const ended = l.records.find((r) => r.eventName === 'skoop.conntrack.destroy');
  assert.deepEqual(began?.owner, { netns: ns.inode, netnsCookie: netnsCookie(ns.path) });
  const { 'source.port': port, ...rest } = began?.attributes ?? {};
  assert.deepEqual(rest, {
    'kubeskoop.type': 'ConntrackNew',
    'network.transport': 'udp',
    'network.type': 'ipv4',
    'source.address': '10.79.1.1',
    'destination.address': '192.0.2.7',
    'destination.port': 53,
    'skoop.conntrack.reply.source.address': '10.79.1.2',
    'skoop.conntrack.reply.source.port': 5353,
    'skoop.conntrack.reply.destination.address': '10.79.1.1',
    'skoop.conntrack.reply.destination.port': port,
    'skoop.conntrack.state': 'unreplied',
    'skoop.conntrack.nat': 'destination',
  });
  assert.equal(ended?.attributes['skoop.conntrack.original.packets'], 1);
  assert.equal(ended?.attributes['skoop.conntrack.original.bytes'], 100);
  assert.equal(began?.body, `Connection udp 10.79.1.1:${port} → 192.0.2.7:53 began (unreplied).`);
});

test('under pressure reading stops, and the kernel keeps or counts', async () => {
  using ns = new NamedNetns();
  const l = listen(ns, { types: ['new'], receive_buffer: '8MiB' });
  l.listener.pause(true);
  fillConntrack(ns, 97);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(l.received(), 0);
  l.listener.pause(false);
  await until('what was kept', () => l.received() === 97);
  l.listener.close();
});

test('a namespace that is gone is no longer listened to', () => {
  using ns = new NamedNetns();
  const l = listen(ns, { types: ['new'] });
  l.listener.sync([]);
  fillConntrack(ns, 3);
  l.listener.close();
  assert.equal(l.received(), 0);
});
