import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import type { NetnsInventory } from '../../host/netns/inventory.ts';
import { hostRoot } from '../../host/proc-root.ts';
import { FakeClock } from '../../pipeline/testing.ts';
import { SocketOwners } from './socket-owner.ts';

const netns = 4026531840;
const space = (...pids: number[]) => fakeNetns(netns, { host: true, path: '/proc/1/ns/net', pids });

test('a process that is younger than the last scan is found by a new one, at most once a second', async () => {
  // Standard input of a child is one end of a pair of sockets.
  const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'spawn');
  const pid = child.pid!;
  const inode = Number(/^socket:\[(\d+)\]$/.exec(hostRoot.readlink(hostRoot.proc(pid, 'fd/0')) ?? '')?.[1]);
  let current = [space()];
  let next = current;
  let scans = 0;
  const inventory = {
    current: () => current,
    scan: () => {
      scans++;
      current = next;
      return current;
    },
  } as unknown as NetnsInventory;
  const clock = new FakeClock();
  const owners = new SocketOwners(clock, hostRoot, inventory);
  try {
    assert.equal(owners.find(netns, 0), undefined, 'no socket, no search');
    assert.equal(owners.find(netns, inode), undefined);
    assert.equal(scans, 1);
    next = [space(pid)];
    clock.advance(999);
    assert.equal(owners.find(netns, inode), undefined);
    assert.equal(scans, 1);
    clock.advance(1);
    assert.deepEqual(owners.find(netns, inode), { pid, comm: 'cat' });
    assert.equal(scans, 2);
    // Known, and found in the last scan: no more of them.
    current = [];
    assert.deepEqual(owners.find(netns, inode), { pid, comm: 'cat' });
    assert.equal(scans, 2);
  } finally {
    child.stdin?.end();
    await once(child, 'exit');
  }
});
