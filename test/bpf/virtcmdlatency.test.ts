import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ProbeSession } from './harness.ts';

const symbols = readFileSync('/proc/kallsyms', 'utf8');
const hasFunction = /\svirtnet_send_command(_reply)?\b/.test(symbols) && / (register|arm)_kprobe$/m.test(symbols);

test('it is on where the driver and kprobes are, and off with one sentence where not', async () => {
  if (hasFunction) {
    using session = await ProbeSession.start('virtcmdlatency');
    assert.equal(session.sum('skoop.virtio.command.duration', undefined), 0);
    assert.deepEqual(await session.events(), []);
    return;
  }
  await assert.rejects(
    ProbeSession.start('virtcmdlatency'),
    /no hook for virtcmdlatency \(commands of the virtio network driver\): .*(built without kprobes|has no function)/,
  );
});
