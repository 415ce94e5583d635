import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { NetlinkProtocol, netlinkRequest } from './message.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

const links = () => netlinkRequest(18, 0, Buffer.alloc(16));
const openFiles = () => readdirSync('/proc/self/fd').length;

test('dumps one after another over one socket, also when asked at once', async () => {
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.route });
  const count = async () => {
    let n = 0;
    const outcome = await socket.dump(links(), () => {
      n++;
    });
    assert.equal(outcome.messages, n);
    return n;
  };
  const first = await count();
  assert.ok(first >= 1);
  assert.deepEqual(await Promise.all([count(), count(), count()]), [first, first, first]);
  socket.close();
  socket.close();
  await assert.rejects(count(), { code: 'EBADF' });
});

test('errors carry the errno and the kernel’s words', async () => {
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.route });
  const missing = Buffer.alloc(16);
  missing.writeInt32LE(0x7fffff, 4);
  await assert.rejects(
    socket.request(netlinkRequest(18, 0, missing)),
    (e) => e instanceof NetlinkError && e.code === 'ENODEV',
  );
  await assert.rejects(
    socket.dump(netlinkRequest(38, 0, Buffer.alloc(4)), () => undefined),
    /EINVAL.*\(.*header/i,
  );
  assert.ok((await socket.dump(links(), () => undefined)).messages >= 1, 'the socket is still good');
  socket.close();
  assert.throws(() => NetlinkSocket.open({ protocol: 999 }), { code: 'EPROTONOSUPPORT' });
});

test('a visitor that says stop ends the dump and the socket', async () => {
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.route });
  const outcome = await socket.dump(links(), () => false);
  assert.deepEqual([outcome.stopped, outcome.messages, socket.closed], [true, 1, true]);
});

test('opening and closing leaves nothing behind, failed opening neither', () => {
  const before = openFiles();
  for (let i = 0; i < 20; i++) NetlinkSocket.open({ protocol: NetlinkProtocol.route }).close();
  assert.throws(() => NetlinkSocket.open({ protocol: NetlinkProtocol.route, groups: [100_000] }));
  assert.throws(() => NetlinkSocket.open({ protocol: NetlinkProtocol.route, netns: '/proc/self/ns/none' }), {
    code: 'ENOENT',
  });
  assert.equal(openFiles(), before);
});
