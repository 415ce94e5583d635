import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetnsCookies } from './cookie.ts';
import { fakeNetns } from './fake-proc.ts';

const info = (netns: number, pid?: number, starttime = 1) =>
  fakeNetns(netns, { ...(pid !== undefined && { pid, starttime }), path: `/proc/${pid}/ns/net` });

test('a cookie is asked once while the same process holds the namespace, and each time without one', () => {
  const asked: [string, number][] = [];
  let cookie: number | undefined = 7;
  const cookies = new NetnsCookies((path, inode) => {
    asked.push([path, inode]);
    return cookie;
  });
  assert.equal(cookies.of(info(42, 100)), 7);
  cookie = 3;
  assert.equal(cookies.of(info(42, 100)), 7);
  assert.equal(cookies.of(info(42, 100, 2)), 3, 'the pid was used again');
  assert.equal(cookies.ask(info(42, 100, 2)), 3);
  cookie = undefined;
  assert.equal(cookies.ask(info(42, 100, 2)), undefined);
  cookie = 5;
  assert.equal(cookies.of(info(42, 100, 2)), 5, 'no answer is not remembered');
  assert.equal(cookies.of(info(43)), 5);
  cookie = 6;
  assert.equal(cookies.of(info(43)), 6);
  cookies.keepOnly(new Map([[43, info(43)]]));
  assert.equal(cookies.of(info(42, 100, 2)), 6);
  assert.equal(asked.length, 8);
  assert.deepEqual(asked[0], ['/proc/100/ns/net', 42]);
});
