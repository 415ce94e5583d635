import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { Netns, ProbeSession, until } from './harness.ts';

/** A block device of this test's own: a loop device over a file of 4 MiB. */
class LoopDevice implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'skl-bio-'));
  readonly path: string;

  constructor() {
    const image = join(this.#folder, 'image');
    writeFileSync(image, Buffer.alloc(4 << 20));
    this.path = execFileSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).trim();
  }

  [Symbol.dispose](): void {
    execFileSync('losetup', ['-d', this.path]);
    rmSync(this.#folder, { recursive: true });
  }
}

/** Why there can be no loop device: a kernel whose module is not there to be loaded. */
function noLoopDevice(): string | false {
  spawnSync('modprobe', ['loop']);
  const { status, stderr } = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
  return status === 0 ? false : `no loop device on this kernel: ${stderr.trim()}`;
}
const skip = noLoopDevice();

const counts = (session: ProbeSession, disk: string, operation: string) =>
  session.sum('skoop.disk.latency', undefined, { 'system.device': disk, 'disk.io.operation': operation });

test('23 direct writes and 7 direct reads are 23 and 7 requests of that device', { skip }, async () => {
  using device = new LoopDevice();
  const disk = basename(device.path);
  using session = await ProbeSession.start('biolatency', { threshold: '60s' });
  const readsBefore = counts(session, disk, 'read');
  execFileSync('dd', ['if=/dev/zero', `of=${device.path}`, 'bs=4k', 'count=23', 'oflag=direct'], { stdio: 'ignore' });
  // Whoever watches for new devices (udev) may read them too, before this and never in these two commands.
  await until(() => counts(session, disk, 'write') === 23);
  execFileSync('dd', [`if=${device.path}`, 'of=/dev/null', 'bs=4k', 'count=7', 'iflag=direct'], { stdio: 'ignore' });
  await until(() => counts(session, disk, 'read') - readsBefore >= 7);
  assert.equal(counts(session, disk, 'write'), 23);
  assert.equal(counts(session, disk, 'read') - readsBefore, 7);
  assert.deepEqual(await session.events(), []);
});

test('a request above the threshold is an event of the namespace, with process, device and size', {
  skip,
}, async () => {
  using device = new LoopDevice();
  using a = new Netns();
  using session = await ProbeSession.start('biolatency', { threshold: '1ns', rate_limit: 0 });
  a.run(`dd if=/dev/zero of=${device.path} bs=8k count=11 oflag=direct 2> /dev/null`);
  const of = async () =>
    (await session.events(a)).filter((e) => e.attributes['system.device'] === basename(device.path));
  await until(() => counts(session, basename(device.path), 'write') === 11);
  const events = (await of()).filter((e) => e.attributes['disk.io.operation'] === 'write');
  assert.equal(events.length, 11);
  for (const e of events) {
    assert.equal(e.eventName, 'skoop.disk.slow');
    assert.equal(e.attributes['kubeskoop.type'], 'BIOLAT_10MS');
    assert.equal(e.attributes['process.executable.name'], 'dd');
    assert.equal(e.attributes['disk.io.size'], 8192);
    assert.ok(Number(e.attributes['skoop.latency']) > 0);
  }
});
