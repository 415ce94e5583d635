import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession } from './harness.ts';

const udp = (to: string, n: number, family = 'AF_INET') =>
  `import socket\ns=socket.socket(socket.${family},socket.SOCK_DGRAM)\nfor i in range(${n}): s.sendto(b'x',('${to}',9))`;

test('23 datagrams to a closed port are 23 drops of the namespace that refused them', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('packetloss');
  a.python(udp('10.99.0.2', 23));
  a.python(udp('fd99::2', 19, 'AF_INET6'));

  const where = { 'skoop.drop.reason': 'NO_SOCKET', 'network.transport': 'udp' };
  assert.equal(session.sum('skoop.packet.drops', b, { ...where, 'network.type': 'ipv4' }), 23);
  assert.equal(session.sum('skoop.packet.drops', b, { ...where, 'network.type': 'ipv6' }), 19);
  const drops = (await session.events(b)).filter((e) => e.attributes['destination.port'] === 9);
  assert.equal(drops.length, 42);
  const [first] = drops;
  assert.equal(first?.eventName, 'skoop.packet.dropped');
  assert.equal(first?.attributes['kubeskoop.type'], 'PACKETLOSS');
  assert.equal(first?.attributes['source.address'], '10.99.0.1');
  assert.equal(first?.attributes['destination.address'], '10.99.0.2');
  assert.equal(first?.attributes['network.interface.name'], 'eth0');
  assert.equal(drops.at(-1)?.attributes['destination.address'], 'fd99::2');
  assert.deepEqual(
    (await session.events(a)).filter((e) => e.attributes['network.transport'] === 'udp'),
    [],
  );
});

test('the rate limit holds events back, counts them, and leaves the metrics exact', async () => {
  using a = new Netns();
  using session = await ProbeSession.start('packetloss', { rate_limit: 0.001, burst: 7 });
  a.python(udp('127.0.0.1', 31));

  assert.equal((await session.events(a)).length, 7);
  assert.equal(session.sum('skoop.packet.drops', a), 31);
  assert.equal(session.sum('skoop.event.emitted', a), 7);
  assert.equal(session.sum('skoop.event.suppressed', a), 24);
  assert.equal(session.sum('skoop.event.lost', a), 0);
});

test('ordinary traffic makes no event', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _server = await b.start(
    "import http.server as h\ns=h.HTTPServer(('',8080),h.SimpleHTTPRequestHandler)\ns.RequestHandlerClass.log_message=lambda *a:None\nprint('up')\ns.serve_forever()",
  );
  using session = await ProbeSession.start('packetloss');
  a.python("import urllib.request as u\nfor i in range(17): u.urlopen('http://10.99.0.2:8080/').read()");
  assert.deepEqual(await session.events(a), []);
  assert.deepEqual(await session.events(b), []);
});
