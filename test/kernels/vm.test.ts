/** The emulated machines themselves: a stock Debian kernel, this machine's programs, nothing of the host changed. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { debianKernel, newestOf } from './kernel.ts';
import { testedSeries } from './series.ts';
import { runInKernel } from './vm.ts';

test('the newest stock kernel of a series is chosen, and no other flavour', () => {
  const names = [
    'linux-image-6.1.0-9-amd64',
    'linux-image-6.1.0-56-amd64',
    'linux-image-6.1.0-56-cloud-amd64',
    'linux-image-6.1.0-56-amd64-unsigned',
    'linux-image-6.1.0-57-rt-amd64',
    'linux-image-6.12-amd64',
    'linux-image-6.12.9+deb12-amd64',
    'linux-image-6.12.117+deb12-amd64',
  ];
  assert.equal(newestOf('6.1', names)[0], 'linux-image-6.1.0-56-amd64');
  assert.deepEqual(newestOf('6.12', names), ['linux-image-6.12.117+deb12-amd64', 'linux-image-6.12.9+deb12-amd64']);
  assert.deepEqual(newestOf('5.10', names), []);
});

for (const series of testedSeries) {
  describe(`Debian's kernel ${series}`, () => {
    test('runs commands with the programs of this machine and says how they ended', async (t) => {
      const kernel = await debianKernel(series).catch((error: Error) => error);
      if (kernel instanceof Error) return t.skip(kernel.message);
      const marker = `.output/written-in-guest-${process.pid}`;
      const commands = [
        'uname -r',
        'node --version',
        'test -e /sys/kernel/btf/vmlinux && echo btf',
        'ip link add v0 type veth peer name v1 && ip -br link show v0 | cut -c1-5',
        `mkdir -p .output && echo yes > ${marker} && cat ${marker}`,
        'echo kept > /out/kept',
        'exit 23',
      ];
      const { exit, log, out } = await runInKernel(kernel, commands.join('\n'), { timeoutS: 180 });
      assert.equal(log, `${kernel.release}\n${process.version}\nbtf\nv0@v1\nyes\n`);
      assert.equal(exit, 23);
      assert.equal(readFileSync(join(out, 'kept'), 'utf8'), 'kept\n');
      assert.equal(existsSync(marker), false, 'the guest writes to a layer of its own');
      return undefined;
    });
  });
}
