import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Netns, ProbeSession } from './harness.ts';

/** How often the kernel gave a process a CPU after a wait, since it was made: third field of schedstat (man 5 proc). */
const runsOf = (pid: string) => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[2]);

/** Sleeps n times for a moment on CPU 0; prints its pid and how often it got that CPU meanwhile, and stays. */
const sleeper = (n: number) =>
  [
    'import os,time',
    'os.sched_setaffinity(0,{0})',
    "runs=lambda: int(open('/proc/self/schedstat').read().split()[2])",
    'a=runs()',
    `for i in range(${n}): time.sleep(0.001)`,
    "print(f'{os.getpid()} {runs()-a}')",
    'time.sleep(600)',
  ].join('\n');

test('each wait of a task for its CPU is measured once, for the namespace of the task only', async () => {
  using a = new Netns();
  using b = new Netns();
  using session = await ProbeSession.start('tasklatency');
  using process = await a.start(sleeper(101));
  const [pid = '', runs] = process.line.split(' ');
  assert.ok(Number(runs) >= 101, `${runs} runs`);
  const measured = session.sum('skoop.task.run_delay', a);
  // It is the only process there; its first steps it made elsewhere, as ip.
  const all = runsOf(pid);
  assert.ok(
    measured >= Number(runs) && measured <= all,
    `${measured} measured, ${runs} of ${all} between two readings`,
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
    // Before it is python3 on CPU 0 it is ip on any: that waits too, and for whoever runs there.
    const python = events.filter((x) => x.attributes['process.executable.name'] === 'python3');
    const e = python.findLast((x) => x.attributes['skoop.task.before'] === 'sh');
    assert.equal(e?.eventName, 'skoop.task.slow');
    assert.equal(e?.attributes['cpu.logical_number'], 0);
    assert.ok(Number(e?.attributes['skoop.latency']) >= 0.0005);
  } finally {
    busy.kill('SIGKILL');
  }
});
