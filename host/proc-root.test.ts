import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hostRoot, ProcRoot, parseNetnsLink } from './proc-root.ts';

const folder = mkdtempSync(join(tmpdir(), 'skl-proc-'));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'proc/7/net'), { recursive: true });
mkdirSync(join(folder, 'run/netns'), { recursive: true });
const root = new ProcRoot({ proc: join(folder, 'proc'), sys: join(folder, 'sys'), run: join(folder, 'run') });

test('paths are made below the roots', () => {
  assert.equal(root.proc(7, 'net/snmp'), `${folder}/proc/7/net/snmp`);
  assert.equal(new ProcRoot().sys('class/net', 'eth0', 'mtu'), '/sys/class/net/eth0/mtu');
  assert.equal(new ProcRoot().run('netns'), '/run/netns');
});

test('files longer than the buffer are read whole, and the buffer is used again', () => {
  const long = 'x'.repeat(200_000);
  writeFileSync(root.proc(7, 'long'), long);
  writeFileSync(root.proc(7, 'short'), 'abc');
  assert.equal(root.readText(root.proc(7, 'long')), long);
  const first = root.read(root.proc(7, 'short'));
  assert.equal(first.toString(), 'abc');
  writeFileSync(root.proc(7, 'short'), 'xyz');
  root.read(root.proc(7, 'short'));
  assert.equal(first.toString(), 'xyz', 'valid until the next read only');
});

test('a record is read whole whatever its size, and a large buffer is not kept', () => {
  for (const length of [0, 10, 65_535, 65_536, 65_537, 200_000]) {
    const text = 'y'.repeat(length);
    writeFileSync(root.proc(7, 'record'), text);
    assert.equal(root.readText(root.proc(7, 'record'), 'record'), text);
  }
  writeFileSync(root.proc(7, 'huge'), Buffer.alloc(1_000_000));
  assert.equal(root.read(root.proc(7, 'huge')).buffer.byteLength, 1 << 20);
  assert.equal(root.read(root.proc(7, 'short')).buffer.byteLength, 1 << 16);
});

test('files the kernel prints in one piece come the same with one read as with two', () => {
  for (const file of ['stat', 'limits', 'cgroup', 'net/snmp6', 'net/sockstat6']) {
    const path = `/proc/self/${file}`;
    const lines = (text: string) => text.split('\n').length;
    assert.equal(lines(hostRoot.readText(path, 'record')), lines(hostRoot.readText(path)), file);
  }
});

test('what is gone is undefined, what is wrong throws', () => {
  assert.equal(root.tryRead(root.proc(8, 'stat')), undefined);
  assert.equal(root.tryReadText(root.proc(8, 'stat')), undefined);
  assert.deepEqual(root.list(root.proc(8)), []);
  assert.equal(root.readlink(root.proc(8, 'ns/net')), undefined);
  assert.equal(root.statInode(root.proc(8)), undefined);
  assert.throws(() => root.read(root.proc(8, 'stat')), { code: 'ENOENT' });
  assert.throws(() => root.tryRead(root.proc(7)), { code: 'EISDIR' });
});

test('namespaces are known by their link or their file system', () => {
  symlinkSync('net:[4026531999]', root.run('netns/captured'));
  writeFileSync(root.run('netns/plain'), '');
  assert.equal(root.netnsInode(root.run('netns/captured')), 4026531999);
  assert.equal(root.netnsInode(root.run('netns/plain')), undefined, 'a plain file is no namespace');
  assert.equal(root.netnsInode(root.run('netns/none')), undefined);
  const own = hostRoot.netnsInode('/proc/self/ns/net');
  assert.equal(own, hostRoot.statInode('/proc/self/ns/net'));
  assert.ok(own);
});

test('links that are no network namespace are refused', () => {
  for (const link of ['', 'net:[]', 'net:[x]', 'net:[1', 'mnt:[1]', 'net:[-1]', 'net:[1.5]', undefined]) {
    assert.equal(parseNetnsLink(link), undefined, String(link));
  }
});

test('the real /proc is read', () => {
  assert.match(hostRoot.readText('/proc/self/status'), /^Name:/);
  assert.ok(hostRoot.list('/proc').includes(String(process.pid)));
});
