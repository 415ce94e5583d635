import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { hostRoot } from '../../host/proc-root.ts';
import { IoScraper } from './io.ts';
import { Slices } from './slices.ts';

const script = `
while read -r command; do
  case $command in
    child) ( i=0; while [ $i -lt 23 ]; do echo x > /dev/null; i=$((i + 1)); done; exec sleep 1000 ) > /dev/null & child=$!; echo $child ;;
    reap) kill $child; wait $child; echo reaped ;;
  esac
done`;

const syscalls = (pid: number) => {
  const text = readFileSync(`/proc/${pid}/io`, 'utf8');
  return Number(/^syscw: (\d+)$/m.exec(text)?.[1]);
};

it('a child’s writes count once: while it lives, and when its parent has reaped it', async () => {
  const shell = spawn('sh', ['-c', script]);
  const lines = createInterface(shell.stdout)[Symbol.asyncIterator]();
  const ask = async (command: string) => {
    shell.stdin.write(`${command}\n`);
    return String((await lines.next()).value);
  };
  try {
    const parent = shell.pid as number;
    const child = Number(await ask('child'));
    while (readFileSync(`/proc/${child}/comm`, 'utf8') !== 'sleep\n') await new Promise((r) => setImmediate(r));
    const io = new IoScraper({
      root: hostRoot,
      enabled: () => true,
      reject: assert.fail,
      permitted: (_what, read) => read(),
      bootTimeMs: 0,
    });
    const write = io.series.schema.series.findIndex(
      (s) => s.metric.name === 'skoop.io.syscalls' && s.attributes['disk.io.direction'] === 'write',
    );
    const total = async (...pids: number[]) => {
      const processes = pids.map((pid) => ({ pid }));
      return (await io.collect({ key: 'pod', owner: { podUid: 'pod' }, processes }, new Slices()))?.[write];
    };
    const both = syscalls(parent) + syscalls(child);
    assert.ok(syscalls(child) >= 23);
    assert.equal(await total(parent, child), both);
    await ask('reap');
    // Linux has added the child's numbers to the parent's: that alone is the sum now.
    assert.ok(syscalls(parent) >= both);
    assert.equal(await total(parent), syscalls(parent));
    const last = syscalls(parent);
    assert.equal(await total(), last, 'what ended stays counted');
  } finally {
    shell.stdin.end();
    shell.kill();
  }
});
