import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Redactor } from './redact.ts';

const pod = '0d1e2f3a-1234-4abc-8def-0123456789ab';
const container = 'deadbeef'.repeat(8);

it('gives the same name to the same thing, in files, paths and both spellings', () => {
  const redactor = new Redactor();
  const text = (path: string, content: string) => redactor.content(path, Buffer.from(content)).toString();
  const cgroup = `0::/kubepods.slice/kubepods-pod${pod.replaceAll('-', '_')}.slice/cri-containerd-${container}.scope\n`;
  const redacted = text('/proc/7/cgroup', cgroup);
  assert.ok(!redacted.includes('deadbeef') && !redacted.includes('0d1e2f3a'));
  assert.ok(redacted.includes('00000000_0000_4000_8000_000000000001'));
  assert.ok(
    redactor.path(`/sys/fs/cgroup/kubepods/pod${pod}/cpu.stat`).includes('00000000-0000-4000-8000-000000000001'),
  );
  assert.equal(text('/proc/7/stat', '7 (my (secret) app) S 1'), '7 (process-1) S 1');
  assert.equal(text('/proc/stat', 'btime 1 (x)\n'), 'btime 1 (x)\n');
  assert.equal(text('/x', '10.1.2.3 0.0.0.0 127.0.0.1 10.1.2.3'), '192.0.2.1 0.0.0.0 127.0.0.1 192.0.2.1');
  assert.equal(text('/proc/1/net/ip_vs', 'TCP  0A600001:01BB rr\n'), 'TCP  C0000202:01BB rr\n');
  assert.equal(text('/proc/7/cgroup', '4:memory:/user.slice/somebody\n0::/\n'), '4:memory:/redacted\n0::/\n');
});

it('keeps kinds of descriptors and takes paths', () => {
  const redactor = new Redactor();
  assert.equal(redactor.link('socket:[23]'), 'socket:[23]');
  assert.equal(redactor.link('net:[4026531840]'), 'net:[4026531840]');
  assert.equal(redactor.link('/home/somebody/secret'), '/redacted');
});

it('leaves numbers and bytes that are not text as they are', () => {
  const bytes = Buffer.from([0x00, 0xff, 0x31, 0x0a]);
  assert.deepEqual(new Redactor().content('/proc/1/net/dev', bytes), bytes);
});
