import assert from 'node:assert/strict';
import { test } from 'node:test';
import { netnsCookie } from '../../host/netns/cookie.ts';
import { startNetns } from '../bed/netns.ts';

test('each network namespace has a cookie of its own, which stays and is not given again', async () => {
  const seen = new Set<number>();
  for (let i = 0; i < 7; i++) {
    await using ns = await startNetns(`c${i}`);
    const cookie = netnsCookie(ns.path);
    assert.ok(cookie !== undefined && cookie > 0);
    assert.equal(netnsCookie(ns.path), cookie);
    assert.notEqual(cookie, netnsCookie('/proc/self/ns/net'));
    seen.add(cookie);
  }
  assert.equal(seen.size, 7);
  assert.equal(netnsCookie('/proc/1/ns/nothing'), undefined);
});
