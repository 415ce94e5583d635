import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCapture, torture, walk } from './capture.ts';
import { NetlinkMessage } from './message.ts';
import {
  addressOfKey,
  ipv6Text,
  SocketRecord,
  socketRequest,
  stateMask,
  TCP_ESTABLISHED,
  TCP_LISTEN,
  tcpStates,
} from './sock-diag.ts';
import { explanation } from './socket.ts';

const capture = readCapture(new URL('testdata/tcp-sockets.bin', import.meta.url));

function sockets<T>(pick: (s: SocketRecord) => T): T[] {
  const record = new SocketRecord();
  const out: T[] = [];
  walk(capture, (m) => {
    if (m.type === 18 && record.load(m)) out.push(pick(record));
  });
  return out;
}

test('recorded sockets: listener, IPv4-mapped and IPv6 pairs', () => {
  const rows = sockets((s) => ({
    family: s.family,
    state: tcpStates[s.state] ?? '',
    local: s.localAddress(),
    remote: s.remoteAddress(),
    key: addressOfKey(s.remoteKey()),
    ports: [s.localPort, s.remotePort],
    sent: s.info?.bytesSent ?? Number.NaN,
    rtt: s.info?.rttUs ?? Number.NaN,
    congestion: s.congestionControl(),
    drops: s.drops,
    receiveMemory: s.receiveMemory,
    cookie: s.cookie === (BigInt(s.cookieHigh) << 32n) + BigInt(s.cookieLow),
  }));
  const server = rows.find((r) => r.state === 'listen' && r.family === 10);
  const port = server?.ports[0];
  assert.equal(server?.local, '::');
  const established = rows.filter((r) => r.state === 'established' && port !== undefined && r.ports.includes(port));
  assert.deepEqual(established.map((r) => [r.family, r.local]).sort(), [
    [10, '127.0.0.1'],
    [10, '::1'],
    [10, '::1'],
    [2, '127.0.0.1'],
  ]);
  for (const row of established) {
    assert.equal(row.key, row.remote);
    assert.ok(row.rtt > 0 && row.congestion.length > 0 && row.cookie);
    assert.deepEqual([row.drops, Number.isNaN(row.receiveMemory)], [0, false]);
  }
  assert.equal(established.filter((r) => r.sent === 5).length, 2, 'both clients sent hello');
});

test('cut or changed anywhere: no throw', () => {
  const record = new SocketRecord();
  let loaded = 0;
  torture(
    capture.map((d) => d.subarray(0, 2000)),
    (m) => {
      if (!record.load(m)) return;
      loaded++;
      void [record.family, record.state, record.remoteKey(), record.localAddress(), record.cookie, record.inode];
      void [
        record.info?.rttUs,
        record.info?.bytesRetransmitted,
        record.drops,
        record.receiveMemory,
        record.congestionControl(),
      ];
    },
  );
  assert.ok(loaded > 1000);
});

test('a tcp_info of an older kernel has no newer fields', () => {
  const record = new SocketRecord();
  let checked = 0;
  walk(capture, (m) => {
    if (m.type !== 18 || !record.load(m) || record.info === undefined || record.state !== TCP_ESTABLISHED) return;
    record.info.load(m.view, m.start, m.start + 104);
    assert.ok(!Number.isNaN(record.info.totalRetransmits));
    for (const v of [record.info.bytesAcked, record.info.busyUs, record.info.dataSegmentsOut])
      assert.ok(Number.isNaN(v));
    checked++;
  });
  assert.ok(checked >= 4);
});

test('requests: the older one for both families, the newer one for one', () => {
  assert.equal(stateMask(TCP_ESTABLISHED, TCP_LISTEN), 0b100_0000_0010);
  const both = socketRequest({ family: 0, protocol: 6, states: 2, extensions: 2 });
  assert.deepEqual([both.length, both.readUInt16LE(4), both[19], both.readUInt32LE(68)], [76, 18, 2, 2]);
  const one = socketRequest({ family: 10, protocol: 17 });
  assert.deepEqual(
    [one.length, one.readUInt16LE(4), one[16], one[17], one.readUInt32LE(20)],
    [72, 20, 10, 17, 0xffffffff],
  );
  assert.throws(() => socketRequest({ family: 0, protocol: 17 }), RangeError);
});

test('IPv6 text is that of RFC 5952', () => {
  const text = (hex: string) =>
    ipv6Text(new DataView(Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')).buffer), 0);
  assert.equal(text('20010db8 00000000 00000000 00000001'), '2001:db8::1');
  assert.equal(text('20010db8 00000001 00010001 00010001'), '2001:db8:0:1:1:1:1:1');
  assert.equal(text('20010db8 00000000 00010000 00000001'), '2001:db8::1:0:0:1');
  assert.equal(text('00000000 00000000 00000000 00000000'), '::');
  assert.equal(text('00000000 00000000 00000000 00000001'), '::1');
  assert.equal(text('fe800000 00000000 00000000 00000000'), 'fe80::');
  assert.equal(text('00000000 00000000 0000ffff 0a000001'), '10.0.0.1');
});

test('the kernel’s own explanation of an error is found, whatever is cut', () => {
  const [refused] = readCapture(new URL('testdata/refused.bin', import.meta.url));
  assert.ok(refused);
  const m = new NetlinkMessage(Buffer.from(refused)).reset(refused.length);
  const said: (string | undefined)[] = [];
  while (m.next()) said.push(explanation(m));
  assert.ok(
    said.some((s) => s?.includes('header')),
    String(said),
  );
  torture([refused, ...readCapture(new URL('testdata/no-device.bin', import.meta.url))], (message) => {
    explanation(message);
  });
});
