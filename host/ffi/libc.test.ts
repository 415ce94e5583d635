import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetlinkProtocol, netlinkRequest } from '../netlink/message.ts';
import { NetlinkSocket } from '../netlink/socket.ts';
import { check, errnoName, errnoText, lastErrno, libc, loadLibrary, pageSize, SysError } from './libc.ts';
import { Watch } from './watch.ts';

test('a failed call has name, number and words', () => {
  assert.equal(libc.close(-1), -1);
  assert.equal(lastErrno(), 9);
  assert.throws(
    () => check('close', libc.close(-1)),
    (e) =>
      e instanceof SysError && e.code === 'EBADF' && e.errno === 9 && e.call === 'close' && /bad file/.test(e.message),
  );
  assert.equal(check('getpid', libc.gettid()), process.pid);
});

test('every errno has a name', () => {
  assert.deepEqual([2, 11, 61, 105, 524, 4242].map(errnoName), [
    'ENOENT',
    'EAGAIN',
    'ENODATA',
    'ENOBUFS',
    'ENOTSUPP',
    'ERRNO_4242',
  ]);
  assert.match(errnoText(1), /^EPERM, operation not permitted$/);
  assert.equal(errnoText(4242), 'ERRNO_4242');
});

test('libraries that are not there are undefined', () => {
  assert.equal(loadLibrary('libnosuchthing.so.1'), undefined);
  assert.ok([4096, 16384, 65536].includes(pageSize()));
});

test('a watch calls when readable, is silent when paused or closed, and keeps errors out of the loop', async () => {
  const socket = NetlinkSocket.open({ protocol: NetlinkProtocol.route });
  const errors: unknown[] = [];
  let calls = 0;
  let wake = () => {};
  const watch = new Watch(
    socket.fd,
    () => {
      calls++;
      watch.pause();
      wake();
      throw new Error('from the callback');
    },
    (e) => errors.push(e),
  );
  const ask = async () => {
    const called = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const request = netlinkRequest(18, 0x300, Buffer.alloc(16));
    const kernel = Buffer.from([16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    check('sendto', libc.sendto(socket.fd, request, request.length, 0, kernel, 12));
    await called;
  };
  await ask();
  assert.equal(calls, 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(calls, 1, 'paused although there is data');
  const again = new Promise<void>((resolve) => {
    wake = resolve;
  });
  watch.resume();
  await again;
  assert.equal(calls, 2);
  assert.equal(errors.length, 2);
  watch.close();
  watch.close();
  socket.close();
});
