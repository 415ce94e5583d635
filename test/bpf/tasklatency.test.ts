import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { Netns, ProbeSession } from './harness.ts';

/** Sleeps n times for a moment on CPU 0; prints how often the kernel gave it that CPU after a wait (third field of schedstat). */
const sleeper = (n: number) =>
  [
    'import os,time',
    'os.sched_setaffinity(0,{0})',
    "runs=lambda: int(open('/proc/self/schedstat').read().split()[2])",
    'a=runs()',
    `for i in range(${n}): time.sleep(0.001)`,
    'print(runs()-a)',
  ].join('\n');

test('each wait of a task for its CPU is measured once, for the namespace of the task only', async () => {
  using a = new Netns();
  using b = new Netns();
  using session = await ProbeSession.start('tasklatency');
  const runs = Number(a.python(sleeper(101)));
  assert.ok(runs >= 101, `${runs} runs`);
  const measured = session.sum('skoop.task.run_delay', a);
  // The rest is the interpreter's start and end.
  assert.ok(
    measured >= runs && measured < runs + 200,
    `${measured} measured, ${runs} of them between the two readings`,
  );
  assert.equal(session.sum('skoop.task.run_delay', b), 0);
  assert.equal(session.sum('skoop.task.run_delay', undefined), 0);
});

test('a task that shares its CPU with a busy one is told, with who had the CPU', async () => {
  using a = new Netns();
  // Two that never sleep take turns of a few milliseconds.
  const busy = spawn('taskset', ['-c', '0', 'sh', '-c', 'while :; do :; done'], {
    stdio: 'ignore',
  });
  try {
    using session = await ProbeSession.start('tasklatency', { threshold: '500us', rate_limit: 0 });
    a.python(
      'import os,time\nos.sched_setaffinity(0,{0})\ne=time.process_time()+0.1\nwhile time.process_time()<e: pass',
    );
    const events = await session.events(a);
    assert.ok(events.length > 0);
    assert.equal(session.sum('skoop.event.emitted', a), events.length);
    const e = events.find((x) => x.attributes['skoop.task.before'] === 'sh');
    assert.equal(e?.eventName, 'skoop.task.slow');
    assert.equal(e?.attributes['process.executable.name'], 'python3');
    assert.equal(e?.attributes['cpu.logical_number'], 0);
    assert.ok(Number(e?.attributes['skoop.latency']) >= 0.0005);
  } finally {
    busy.kill('SIGKILL');
  }
});
