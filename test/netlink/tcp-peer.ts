/**
 * A TCP program for tests, run inside a namespace: `serve HOST PORT [silent]` accepts and answers each byte with one, or reads nothing;
 * `talk HOST PORT CONNECTIONS EXCHANGES` sends bytes to and fro and then holds the connections; `flood HOST PORT` writes for ever.
 * Says `ready` when it is; ends when its standard input ends.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const [mode, host = '', port = '0', a = '', b = ''] = process.argv.slice(2);
process.stdin.resume().on('end', () => process.exit(0));
const ready = () => console.log('ready');

if (mode === 'serve') {
  createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    if (a === 'silent') socket.pause();
    else socket.on('data', (data) => socket.write(data));
  }).listen(Number(port), host, 4096, ready);
} else if (mode === 'talk') {
  const talk = async () => {
    const socket = connect(Number(port), host).setNoDelay(true);
    await once(socket, 'connect');
    for (let i = 0; i < Number(b); i++) {
      socket.write('x');
      await once(socket, 'data');
    }
    return socket;
  };
  await Promise.all(Array.from({ length: Number(a) }, talk));
  ready();
} else if (mode === 'flood') {
  const socket = connect(Number(port), host);
  await once(socket, 'connect');
  const data = Buffer.alloc(64 * 1024);
  const write = () => {
    while (socket.write(data));
    socket.once('drain', write);
  };
  write();
  ready();
}
