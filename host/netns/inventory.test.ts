import assert from 'node:assert/strict';
import { rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { hostRoot, ProcRoot } from '../proc-root.ts';
import { NetnsCookies } from './cookie.ts';
import { FakeProc } from './fake-proc.ts';
import { NetnsInventory, sharedInventory } from './inventory.ts';

const id = (c: string) => c.repeat(64);
const uid = '7f0f9c2e-59a0-4f05-a0a9-0e0f7c1b2d3e';
const pod = (container: string) => `/kubepods/burstable/pod${uid}/${container}`;

let machine: FakeProc;
let now: number;
const clock = { nowMs: () => now, monotonicMs: () => now };
beforeEach(() => {
  machine = new FakeProc();
  now = 1_000_000;
  machine.start(1, { netns: 100, comm: 'systemd' });
});
afterEach(() => machine.remove());

test('groups processes by namespace, host first', () => {
  machine.start(20, { netns: 300, cgroup: pod(id('a')), comm: 'pause', starttime: 7 });
  machine.start(31, { netns: 300, cgroup: pod(id('b')) });
  machine.start(9, { netns: 100 });
  machine.start(40, { netns: 200 });
  machine.name('cni-1', 300);
  machine.name('empty', 400);
  writeFileSync(machine.root.run('netns/leftover'), '');
  const all = new NetnsInventory(machine.root, clock).scan();
  assert.deepEqual(
    all.map((n) => [n.netns, n.host, n.pid, n.comm, n.name, n.pids]),
    [
      [100, true, 1, 'systemd', undefined, [1, 9]],
      [200, false, 40, 'app', undefined, [40]],
      [300, false, 20, 'pause', 'cni-1', [20, 31]],
      [400, false, undefined, undefined, 'empty', []],
    ],
  );
  const ofPod = all[2];
  assert.equal(ofPod?.starttime, 7);
  assert.deepEqual(ofPod?.podUids, [uid]);
  assert.deepEqual(ofPod?.containerIds, [id('a'), id('b')]);
  assert.equal(ofPod?.path, machine.root.proc(20, 'ns/net'));
  assert.equal(all[3]?.path, machine.root.run('netns', 'empty'));
});

test('processes of a pod are found in whatever namespace they are', () => {
  machine.start(20, { netns: 300, cgroup: pod(id('a')) });
  machine.start(21, { netns: 100, cgroup: pod(id('b')) });
  const inventory = new NetnsInventory(machine.root, clock);
  assert.equal(inventory.podProcesses().size, 0);
  inventory.scan();
  assert.deepEqual(
    inventory
      .podProcesses()
      .get(uid)
      ?.map((p) => [p.pid, p.starttime, p.netns, p.containerId]),
    [
      [20, 1020, 300, id('a')],
      [21, 1021, 100, id('b')],
    ],
  );
});

test('the representative stays while it lives', () => {
  machine.start(50, { netns: 300 });
  const inventory = new NetnsInventory(machine.root, clock);
  const pid = () => inventory.scan().find((n) => n.netns === 300)?.pid;
  assert.equal(pid(), 50);
  machine.start(40, { netns: 300 });
  assert.equal(pid(), 50);
  machine.end(50);
  assert.equal(pid(), 40);
});

test('a pid used again is another process', () => {
  machine.start(50, { netns: 300, cgroup: pod(id('a')), starttime: 5 });
  const inventory = new NetnsInventory(machine.root, clock);
  inventory.scan();
  now += 60_000;
  inventory.scan();
  machine.start(50, { netns: 300, cgroup: '/', starttime: 6, comm: 'other' });
  const [, netns] = inventory.scan();
  assert.deepEqual([netns?.starttime, netns?.comm, netns?.podUids], [6, 'other', []]);
});

test('a young process moved into its cgroup is seen at the next scan, an old one within sixteen', () => {
  machine.start(50, { netns: 300 });
  const inventory = new NetnsInventory(machine.root, clock);
  const uids = () => inventory.scan().find((n) => n.netns === 300)?.podUids;
  assert.deepEqual(uids(), []);
  machine.move(50, pod(id('a')));
  now += 1000;
  assert.deepEqual(uids(), [uid]);
  now += 60_000;
  uids();
  machine.move(50, '/');
  let scans = 1;
  while (uids()?.length !== 0 && scans < 20) scans++;
  assert.ok(scans <= 16, `seen after ${scans} scans`);
});

test('first sight is remembered, and forgotten with the namespace', () => {
  const inventory = new NetnsInventory(machine.root, clock);
  const seen = () => inventory.scan().find((n) => n.netns === 300)?.firstSeenMs;
  machine.start(50, { netns: 300 });
  assert.equal(seen(), 1_000_000);
  now += 10;
  assert.equal(seen(), 1_000_000);
  machine.end(50);
  assert.equal(seen(), undefined);
  machine.start(51, { netns: 300 });
  assert.equal(seen(), 1_000_010);
});

test('another cookie under the same inode is another namespace; one that cannot be asked is not', () => {
  let cookie: number | undefined = 7;
  const inventory = new NetnsInventory(
    machine.root,
    clock,
    new NetnsCookies((path) => (path.includes('/1/') ? 1 : cookie)),
  );
  const look = () => {
    const { netns, life, firstSeenMs, cookie: seen } = inventory.scan().find((n) => n.netns === 300)!;
    return { netns, life, firstSeenMs, cookie: seen };
  };
  machine.start(50, { netns: 300 });
  const first = look();
  assert.deepEqual([first.cookie, first.firstSeenMs], [7, 1_000_000]);
  now += 10;
  machine.start(50, { netns: 300, starttime: 2000 });
  assert.deepEqual(look(), first, 'another process in the same namespace');
  cookie = undefined;
  machine.start(50, { netns: 300, starttime: 3000 });
  assert.deepEqual(look(), first, 'the cookie could not be asked');
  cookie = 5;
  machine.start(50, { netns: 300, starttime: 4000 });
  const second = look();
  assert.deepEqual([second.cookie, second.firstSeenMs], [5, 1_000_010]);
  assert.notEqual(second.life, first.life);
});

test('what may not be looked into is counted, with its pod; threads of the kernel are not', () => {
  const { procPath: proc, runPath: run } = machine.root;
  const denied = new Set([50, 51, 60, 70].map((pid) => `${proc}/${pid}/ns/net`));
  class GuardedRoot extends ProcRoot {
    override readlink(path: string) {
      return denied.has(path) ? undefined : super.readlink(path);
    }
    override isDenied(path: string) {
      return denied.has(path);
    }
  }
  const inventory = new NetnsInventory(new GuardedRoot({ proc, run }), clock);
  machine.start(50, { netns: 300, cgroup: pod(id('a')) });
  machine.start(51, { netns: 300, cgroup: pod(id('b')) });
  machine.start(60, { netns: 400 });
  machine.start(70, { netns: 100, kernelThread: true });
  machine.start(80, { netns: 500 });
  assert.deepEqual(
    inventory.scan().map((n) => n.netns),
    [100, 500],
  );
  assert.deepEqual(inventory.unreadable(), { processes: 3, podUids: new Set([uid]) });
  denied.clear();
  inventory.scan();
  assert.deepEqual(inventory.unreadable(), { processes: 0, podUids: new Set() });
});

test('where pid 1 may not be looked at, kthreadd tells the host', () => {
  unlinkSync(machine.root.proc(1, 'ns/net'));
  machine.start(2, { netns: 100, comm: 'kthreadd' });
  machine.start(3, { netns: 300 });
  const all = new NetnsInventory(machine.root, clock).scan();
  assert.deepEqual(
    all.map((n) => [n.netns, n.host]),
    [
      [100, true],
      [300, false],
    ],
  );
});

test('a process that ends in the middle of being read is left out', () => {
  machine.start(50, { netns: 300 });
  rmSync(machine.root.proc(50, 'stat'));
  machine.start(51, { netns: 301 });
  rmSync(machine.root.proc(51, 'cgroup'));
  const all = new NetnsInventory(machine.root, clock).scan();
  assert.deepEqual(
    all.map((n) => n.netns),
    [100, 301],
  );
});

test('several askers share one scan while it is fresh', async () => {
  const inventory = new NetnsInventory(machine.root, clock);
  const [a, b] = await Promise.all([inventory.fresh(0), inventory.scanAsync()]);
  assert.equal(a, b);
  machine.start(50, { netns: 300 });
  now += 1000;
  assert.equal((await inventory.fresh(1000)).length, 1);
  assert.equal((await inventory.fresh(999)).length, 2);
  assert.equal(inventory.current().length, 2);
  assert.equal(sharedInventory(machine.root, clock), sharedInventory(machine.root));
});

test('scan and scanAsync agree on this machine about this process', async () => {
  const inventory = new NetnsInventory(hostRoot, { nowMs: Date.now, monotonicMs: () => performance.now() });
  const own = hostRoot.netnsInode('/proc/self/ns/net');
  for (const all of [inventory.scan(), await inventory.scanAsync()]) {
    assert.ok(all.find((n) => n.netns === own)?.pids.includes(process.pid));
  }
});

test('threads of the kernel are known again by their inode alone', () => {
  class CountingRoot extends ProcRoot {
    links: string[] = [];
    override readlink(path: string): string | undefined {
      this.links.push(path);
      return super.readlink(path);
    }
  }
  const { procPath: proc, sysPath: sys, runPath: run } = machine.root;
  const root = new CountingRoot({ proc, sys, run });
  machine.start(2, { netns: 100, comm: 'kthreadd', kernelThread: true });
  machine.start(9, { netns: 100 });
  const inventory = new NetnsInventory(root, clock);
  inventory.scan();
  assert.equal(inventory.process(2)?.kernelThread, true);
  assert.equal(inventory.process(9)?.kernelThread, false);
  assert.ok(root.links.includes(root.proc(2, 'ns/net')));
  root.links = [];
  assert.deepEqual(inventory.scan()[0]?.pids, [1, 2, 9]);
  assert.ok(!root.links.includes(root.proc(2, 'ns/net')));
  assert.ok(root.links.includes(root.proc(9, 'ns/net')));
  machine.start(2, { netns: 300 });
  assert.deepEqual(
    inventory.scan().map((n) => n.pids),
    [[1, 9], [2]],
    'another process with its pid is looked at',
  );
});
