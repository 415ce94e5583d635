import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { test } from 'node:test';
import { connect, Netns, ProbeSession } from './harness.ts';

const execute = { 'skoop.softirq.type': 'net_rx', 'skoop.softirq.phase': 'execute' };

/** Runs of net_rx on all CPUs so far, as the kernel counts them. */
function netRx(): number {
  const line = readFileSync('/proc/softirqs', 'utf8')
    .split('\n')
    .find((l) => /^\s*NET_RX:/.test(l));
  return line!
    .trim()
    .split(/\s+/)
    .slice(1)
    .reduce((sum, n) => sum + Number(n), 0);
}

const udp = (n: number) =>
  `import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(${n}): s.sendto(b'x',('10.99.0.2',9))`;

test('each run of net_rx is counted once, as /proc/softirqs has it', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('softirq', { types: ['net_rx'], threshold: '60s', severe: '60s' });
  const count = () => session.sum('skoop.softirq.duration', undefined, execute);
  a.python(udp(3));
  // Other packets of this machine come in between: each reading stands between two of the kernel's own.
  const kernel1 = netRx();
  const ours1 = count();
  const kernel2 = netRx();
  a.python(udp(211));
  const kernel3 = netRx();
  const ours2 = count();
  const kernel4 = netRx();
  assert.ok(kernel3 - kernel2 > 0);
  // The kernel counts a run when it begins, the probe when it ends: each CPU may be within one at a reading.
  const within = cpus().length;
  assert.ok(ours2 - ours1 >= kernel3 - kernel2 - within, `${ours2 - ours1} runs, at least ${kernel3 - kernel2}`);
  assert.ok(ours2 - ours1 <= kernel4 - kernel1 + within, `${ours2 - ours1} runs, at most ${kernel4 - kernel1}`);
  assert.deepEqual(await session.events(), [], 'no event below the threshold');
});

test('above the threshold there is one event for each run, with CPU, process and latency', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('softirq', {
    types: ['net_rx'],
    threshold: '1ns',
    severe: '500ns',
    rate_limit: 0,
    enable_stack: true,
  });
  a.python(udp(101));
  const events = await session.events();
  const emitted = session.sum('skoop.event.emitted', undefined, { 'skoop.event.type': 'execute' });
  const runs = events.filter((e) => e.attributes['skoop.softirq.phase'] === 'execute');
  assert.ok(runs.length > 0 && runs.length <= emitted, `${runs.length} of ${emitted}`);
  for (const e of events) {
    assert.equal(e.owner, undefined);
    assert.equal(e.eventName, 'skoop.softirq.slow');
    assert.equal(e.attributes['skoop.softirq.type'], 'net_rx');
    assert.ok(Number(e.attributes['cpu.logical_number']) < cpus().length);
    assert.ok((e.attributes['skoop.stack'] as string[]).length > 2);
    const phase = e.attributes['skoop.softirq.phase'] === 'schedule' ? 'SCHED' : 'EXCUTE';
    const how = Number(e.attributes['skoop.latency']) >= 500e-9 ? '100MS' : 'SLOW';
    assert.equal(e.attributes['kubeskoop.type'], `SOFTIRQ_${phase}_${how}`);
  }
  // Packets that a process sends over veth are received in its own soft interrupts, which name it.
  assert.ok(runs.some((e) => e.attributes['process.executable.name'] === 'python3'));
});
