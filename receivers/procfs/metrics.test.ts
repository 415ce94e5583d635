import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { KubeskoopName, MetricDefinition } from '../../pipeline/catalogue.ts';
import { check, config } from './config.ts';
import { metrics } from './metrics.ts';

/** What KubeSkoop's probes of these names export, without `kubeskoop_` and the probe. */
const kubeskoop: Readonly<Record<string, string>> = {
  netdev: 'rxbytes rxerrors txbytes txerrors rxpackets rxdropped txpackets txdropped',
  tcpext: `listendrops listenoverflows tcpsynretrans tcpfastretrans tcpretransfail tcptimeouts tcpabortonclose
    tcpabortonmemory tcpabortontimeout tcpabortonlinger tcpabortondata tcpabortfailed tcpackskippedsynrecv
    tcpackskippedpaws tcpackskippedseq tcpackskippedfinwait2 tcpackskippedtimewait tcpackskippedchallenge tcprcvqdrop
    tcpmemorypressures tcpmemorypressureschrono pawsactive pawsestab embryonicrsts tcpwinprobe tcpkeepalive tcpmtupfail
    tcpmtupsuccess tcpzerowindowdrop tcpbacklogdrop pfmemallocdrop tcpwqueuetoobig`,
  tcp: 'activeopens passiveopens retranssegs attemptfails estabresets currestab insegs outsegs inerrs outrsts',
  udp: 'indatagrams noports inerrors outdatagrams rcvbuferrors sndbuferrors incsumerrors ignoredmulti',
  ip: `forwarding defaultttl inreceives inhdrerrors inaddrerrors forwdatagrams inunknownprotos indiscards indelivers
    outrequests outdiscards outnoroutes reasmtimeout reasmreqds reasmoks reasmfails fragoks fragfails fragcreates`,
  sock: 'inuse orphan tw alloc mem',
  softnet: 'processed dropped',
  tcpsummary: 'tcpestablishedconn tcptimewaitconn tcpclosewaitconn tcpsynsentconn tcpsynrecvconn tcptxqueue tcprxqueue',
  fd: 'openfd opensocket',
  io: 'readsyscall writesyscall readbytes writebytes',
  ipvs: 'connections incomingpackets outgoingpackets incomingbytes outgoingbytes',
};

const mapped = metrics.flatMap((metric) => (metric.kubeskoop ?? []).map((k) => [k, metric] as const));
const find = (name: string): readonly [KubeskoopName, MetricDefinition] => {
  const found = mapped.filter(([k]) => k.name === name);
  assert.equal(found.length, 1, `${name} comes from ${found.length} metrics`);
  return found[0] as readonly [KubeskoopName, MetricDefinition];
};

describe('names', () => {
  it('every name of KubeSkoop’s /proc probes comes from one metric that is on, and there are no others', () => {
    const all = Object.entries(kubeskoop).flatMap(([probe, names]) =>
      names.split(/\s+/).map((name) => `kubeskoop_${probe}_${name}`),
    );
    assert.equal(all.length, 102);
    for (const name of all) {
      const [k, metric] = find(name);
      assert.ok(metric.enabled, `${metric.name} is off`);
      const io = name.startsWith('kubeskoop_io_');
      assert.equal(k.type ?? metric.instrument, io ? 'counter' : 'gauge', `TYPE of ${name}`);
      for (const key of Object.keys({ ...k.where, ...k.except })) assert.ok(metric.attributes[key], `${name} ${key}`);
    }
    assert.deepEqual(mapped.map(([k]) => k.name).sort(), all.sort());
  });

  it('what KubeSkoop counts otherwise is said', () => {
    assert.deepEqual(find('kubeskoop_netdev_rxbytes')[0].except, { 'network.interface.name': 'lo' });
    assert.deepEqual(find('kubeskoop_ip_inreceives')[0].where, { 'network.type': 'ipv4' });
    assert.equal(find('kubeskoop_tcpext_tcpmemorypressureschrono')[0].scale, 1000);
    assert.equal(find('kubeskoop_sock_inuse')[0].nodeOnly, true);
    assert.equal(find('kubeskoop_sock_tw')[0].nodeOnly, true);
    assert.ok((find('kubeskoop_sock_mem')[0].scale ?? 1) < 1 / 4095);
    // KubeSkoop fills this one with bytes.
    assert.equal(find('kubeskoop_ipvs_incomingpackets')[1].name, 'skoop.ipvs.packets');
  });

  it('are unique, dotted, without unit or total', () => {
    const names = metrics.map((m) => m.name);
    assert.equal(new Set(names).size, names.length);
    for (const name of names) {
      assert.match(name, /^(?:system|skoop)(?:\.[a-z0-9_]+)+$/);
      assert.doesNotMatch(name, /(?:_total|_bytes|_seconds)$/);
    }
  });

  it('are each described by one sentence', () => {
    for (const m of metrics) assert.match(m.description, /^[A-Z].*\.$/s, m.name);
  });
});

describe('config', () => {
  it('an empty section is the defaults', () => {
    const parsed = config.parse({});
    assert.equal(parsed.collection_interval, 15_000);
    assert.deepEqual(parsed.scrapers.netdev.exclude, ['lo']);
    assert.ok(Object.values(parsed.scrapers).every((s) => s.enabled));
  });

  it('refuses keys and metrics it does not know', () => {
    assert.throws(() => config.parse({ scrapers: { netdef: {} } }), /netdef/);
    assert.throws(() => config.parse({ scrapers: { tcp: { enable: false } } }), /enable/);
    assert.throws(() => config.parse({ collection_interval: 15 }));
    const parsed = config.parse({ metrics: { 'skoop.tcp.inseg': { enabled: false } } });
    assert.deepEqual(check(parsed), [
      { path: ['metrics', 'skoop.tcp.inseg'], message: "procfs has no metric named 'skoop.tcp.inseg'" },
    ]);
    assert.deepEqual(check(config.parse({ metrics: { 'skoop.tcp.in_segs': { enabled: false } } })), []);
  });
});
