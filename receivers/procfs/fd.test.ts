import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { it } from 'node:test';
import { hostRoot, ProcRoot } from '../../host/proc-root.ts';
import { FdScraper } from './fd.ts';
import { Slices } from './slices.ts';

const scraper = (root: ProcRoot) =>
  new FdScraper({ root, enabled: () => true, reject: assert.fail, permitted: (_what, read) => read(), bootTimeMs: 0 });

it('counts the descriptors and sockets of this very process, once for all its threads', async () => {
  const fd = scraper(hostRoot);
  const look = async () => {
    const values = await fd.collect(
      { key: 'pod', owner: { podUid: 'pod' }, processes: [{ pid: process.pid }] },
      new Slices(),
    );
    assert.ok(values);
    const [open, sockets, utilization] = values as unknown as [number, number, number];
    return { open, sockets, utilization };
  };
  const before = await look();
  const files = Array.from({ length: 23 }, () => openSync('/dev/null', 'r'));
  const servers = Array.from({ length: 7 }, () => createServer());
  await Promise.all(servers.map((s) => new Promise<void>((resolve) => s.listen(0, '127.0.0.1', resolve))));
  const during = await look();
  assert.equal(during.open - before.open, 30);
  assert.equal(during.sockets - before.sockets, 7);
  const limit = Number(/^Max open files\s+(\d+)/m.exec(hostRoot.readText('/proc/self/limits'))?.[1]);
  assert.equal(during.utilization, during.open / limit);
  for (const f of files) closeSync(f);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  assert.equal((await look()).sockets, before.sockets);
});

it('a large directory is listed by a pool thread from the second time on', async () => {
  const listed: string[] = [];
  class Large extends ProcRoot {
    override list(path: string): string[] {
      if (!path.endsWith('/fd')) return super.list(path);
      listed.push('here');
      return Array.from({ length: 2001 }, (_, i) => String(i));
    }
    override async listAsync(): Promise<string[]> {
      listed.push('pool');
      return Array.from({ length: 1999 }, (_, i) => String(i));
    }
    override readlink(): string {
      return 'socket:[1]';
    }
  }
  const fd = scraper(new Large());
  const group = { key: '', owner: undefined, processes: [{ pid: 1 }] };
  const open = [];
  for (let i = 0; i < 3; i++) open.push((await fd.collect(group, new Slices()))?.[1]);
  assert.deepEqual(open, [2001, 1999, 2001]);
  assert.deepEqual(listed, ['here', 'pool', 'here']);
});

it('a limit is kept for some rounds while the process is the same, and threads of the kernel are left out', async () => {
  let limit = 100;
  let limitsRead = 0;
  const listed: string[] = [];
  class Counting extends ProcRoot {
    override list(path: string): string[] {
      listed.push(path);
      return ['0', '1', '2', '3', '4'];
    }
    override read(): Buffer {
      limitsRead++;
      return Buffer.from(`Max open files            ${limit}                 524288               files     \n`);
    }
    override readlink(): string {
      return 'pipe:[1]';
    }
  }
  const fd = scraper(new Counting());
  const round = async (starttime: number) => {
    const processes = [
      { pid: 3, starttime },
      { pid: 2, starttime: 1, kernelThread: true },
    ];
    const values = await fd.collect({ key: '', owner: undefined, processes }, new Slices());
    fd.endRound();
    return values?.[2];
  };
  assert.equal(await round(7), 0.05);
  limit = 50;
  assert.equal(await round(7), 0.05);
  assert.equal(limitsRead, 1);
  assert.equal(await round(8), 0.1, 'another process with the same pid');
  limit = 25;
  const seen = [];
  for (let i = 0; i < 16; i++) seen.push(await round(8));
  assert.equal(seen.filter((v) => v === 0.1).length + seen.filter((v) => v === 0.2).length, 16);
  assert.equal(seen.at(-1), 0.2, 'read again within 16 rounds');
  assert.equal(limitsRead, 3);
  assert.ok(listed.every((path) => path.endsWith('/3/fd')));
});
