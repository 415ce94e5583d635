import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kernel } from '../../bpf/kernel.ts';
import { MapReader } from '../../host/bpf/map-reader.ts';
import { testContext } from '../../pipeline/testing.ts';
import { ActiveProbe } from '../../receivers/ebpf/active-probe.ts';
import dns from '../../receivers/ebpf/dns.ts';
import { SharedRing } from '../../receivers/ebpf/ring.ts';
import { connect, Netns, ProbeSession } from './harness.ts';

test('events bear the wall clock of their slice, also after it was set', async () => {
  using ns = new Netns();
  using session = await ProbeSession.start('packetloss');
  const drop = () => ns.run('echo x > /dev/udp/127.0.0.1/9');
  const hourMs = 3_600_000;
  drop();
  const [first] = await session.events(ns);
  session.context.clock.stepWall(hourMs);
  drop();
  const [, second, more] = await session.events(ns);
  assert.ok(first && second && more === undefined);
  const offMs = Number(second.timeUnixNs - first.timeUnixNs) / 1e6 - hourMs;
  assert.ok(Math.abs(offMs) < hourMs / 10, `the second event is ${offMs} ms off`);
});

test('an open DNS question is not forgotten when its namespace ends: the timeout counts it', async () => {
  const context = testContext({ id: 'ebpf' });
  const { telemetry, log, clock } = context;
  const ring = new SharedRing(1 << 16);
  const config = dns.config.parse({ timeout: '1h' });
  const probe = new ActiveProbe(dns, config, 0, {
    kernel: await Kernel.probe(),
    telemetry,
    log,
    clock,
    ringFd: ring.fd,
  });
  try {
    const open = () => new MapReader(probe.loaded.map('skl_asked')).readAll(() => {});
    const before = open();
    {
      using a = new Netns();
      using b = new Netns();
      connect(a, b);
      a.python(
        "import socket,struct\nfor i in range(7):\n  s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('10.99.0.2',53))\n" +
          "  s.send(struct.pack('>HHHHHH',i,0x100,1,0,0,0)+b'\\1x\\0\\0\\1\\0\\1')",
      );
      assert.ok(open() >= before + 7);
    }
    const nobody = { has: () => false, cookieOf: () => undefined };
    probe.reap(nobody);
    probe.reap(nobody);
    assert.ok(open() >= before + 7);
  } finally {
    probe.close();
    ring.close();
  }
});
