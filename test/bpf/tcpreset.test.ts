import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession } from './harness.ts';

const metric = 'skoop.tcp.resets';
const connects = (to: string, port: number, n: number) =>
  `import socket
for i in range(${n}):
  try: socket.create_connection(('${to}',${port}),2).close()
  except ConnectionRefusedError: pass`;
/** A server that prints when it is up and treats each connection as `body` says (`c` = the connection). */
const server = (body: string, family = 'AF_INET', address = '0.0.0.0') =>
  `import socket,struct,time
s=socket.socket(socket.${family}); s.setsockopt(1,2,1); s.bind(('${address}',8080)); s.listen(64); print('up')
while True:
  c,_=s.accept()
  ${body}`;

test('13 connects to a closed port: 13 NOSOCK from the server, 13 received by the client', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('tcpreset');
  a.python(connects('10.99.0.2', 81, 13));
  a.python(connects('fd99::2', 81, 11));

  assert.equal(session.sum(metric, b, { 'skoop.reset.type': 'nosock', 'network.type': 'ipv4' }), 13);
  assert.equal(session.sum(metric, b, { 'skoop.reset.type': 'nosock', 'network.type': 'ipv6' }), 11);
  assert.equal(session.sum(metric, a, { 'skoop.reset.type': 'receive' }), 24);
  const sent = await session.events(b);
  assert.equal(sent.length, 24);
  const { attributes } = sent[0]!;
  assert.equal(attributes['kubeskoop.type'], 'TCPRESET_NOSOCK');
  assert.equal(attributes['source.address'], '10.99.0.1');
  assert.equal(attributes['destination.address'], '10.99.0.2');
  assert.equal(attributes['destination.port'], 81);
  assert.equal(attributes['skoop.tcp.flags'], 'SYN');
  const received = await session.events(a);
  assert.equal(received.length, 24);
  assert.equal(received[0]?.attributes['kubeskoop.type'], 'TCPRESET_RECEIVE');
  assert.equal(received[0]?.attributes['skoop.tcp.state'], 'TCP_SYN_SENT');
  assert.equal(received[0]?.attributes['destination.port'], 81);
});

test('closing with SO_LINGER 0 is an active reset, also on a v4-mapped socket', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  const body = "c.setsockopt(1,13,struct.pack('ii',1,0)); c.close()";
  using _server = await b.start(server(body, 'AF_INET6', '::'));
  using session = await ProbeSession.start('tcpreset');
  a.python(
    `import socket
for i in range(17):
  s=socket.create_connection(('10.99.0.2',8080))
  try: s.recv(1)
  except ConnectionResetError: pass`,
  );

  assert.equal(session.sum(metric, b, { 'skoop.reset.type': 'active', 'network.type': 'ipv4' }), 17);
  assert.equal(session.sum(metric, b, { 'skoop.reset.type': 'nosock' }), 0);
  assert.equal(session.sum(metric, a, { 'skoop.reset.type': 'receive' }), 17);
  const [first, ...rest] = await session.events(b);
  assert.equal(rest.length, 16);
  assert.equal(first?.attributes['kubeskoop.type'], 'TCPRESET_ACTIVE');
  assert.equal(first?.attributes['network.type'], 'ipv4');
  assert.equal(first?.attributes['source.address'], '10.99.0.2');
  assert.equal(first?.attributes['source.port'], 8080);
  assert.equal(first?.attributes['destination.address'], '10.99.0.1');
});

test('connections that end in peace make no reset', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _server = await b.start(server('c.recv(9); c.close()'));
  using session = await ProbeSession.start('tcpreset');
  a.python(
    `import socket
for i in range(19):
  s=socket.create_connection(('10.99.0.2',8080)); s.sendall(b'x'); assert s.recv(1)==b''; s.close()`,
  );

  assert.deepEqual(await session.events(a), []);
  assert.deepEqual(await session.events(b), []);
  assert.equal(session.sum(metric, a) + session.sum(metric, b), 0);
});
