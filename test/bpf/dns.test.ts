import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, Netns, ProbeSession, until } from './harness.ts';

/**
 * A server whose answer is in the name: `rcode-N.test` is answered with that rcode, `silent.test` not at all; anything else with an A
 * record. Both IP versions.
 */
const server = [
  'import socket,struct',
  's=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)',
  "s.bind(('::',53))",
  "print('up')",
  'while True:',
  '  d,p=s.recvfrom(9999)',
  '  n=d[13:13+d[12]].decode("latin1")',
  "  if n=='silent': continue",
  "  r=int(n[6:]) if n.startswith('rcode-') else 0",
  "  s.sendto(d[:2]+struct.pack('>HHHHH',0x8180|r,1,0,0,0)+d[12:],p)",
].join('\n');

/** Asks `n` times for names, one socket for each question unless told, waits for the answers when `wait`. */
function ask(n: number, name: string, { address = '10.99.0.2', type = 1, wait = true, id = 0 } = {}): string {
  const family = address.includes(':') ? 'AF_INET6' : 'AF_INET';
  return [
    'import socket,struct',
    `name=b''.join(bytes([len(l)])+l.encode('latin1') for l in ${JSON.stringify(name)}.split('.'))+b'\\0'`,
    `for i in range(${n}):`,
    `  s=socket.socket(socket.${family},socket.SOCK_DGRAM);s.connect(('${address}',53))`,
    `  s.send(struct.pack('>HHHHHH',(${id}+i)&65535,0x100,1,0,0,0)+name+struct.pack('>HH',${type},1))`,
    ...(wait ? ['  s.recv(9999)'] : []),
  ].join('\n');
}

test('questions and answers are counted once, by what the answer says, at the client only', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(server);
  using session = await ProbeSession.start('dns');
  a.python(ask(31, 'good.test'));
  a.python(ask(13, 'good.test', { address: 'fd99::2' }));
  a.python(ask(7, 'rcode-3.test'));
  b.python(ask(5, 'good.test', { address: '127.0.0.1' }));
  assert.equal(session.sum('skoop.dns.queries', a, { 'network.type': 'ipv4' }), 38);
  assert.equal(session.sum('skoop.dns.queries', a, { 'network.type': 'ipv6' }), 13);
  assert.equal(session.sum('skoop.dns.latency', a, { 'skoop.dns.rcode': 'NOERROR', 'network.type': 'ipv4' }), 31);
  assert.equal(session.sum('skoop.dns.latency', a, { 'skoop.dns.rcode': 'NOERROR', 'network.type': 'ipv6' }), 13);
  assert.equal(session.sum('skoop.dns.latency', a, { 'skoop.dns.rcode': 'NXDOMAIN' }), 7);
  assert.equal(session.sum('skoop.dns.queries', b), 5, 'the server asks over lo');
  assert.equal(session.sum('skoop.dns.latency', b), 5);
  assert.equal(session.sum('skoop.dns.timeouts', a), 0);
  assert.deepEqual(await session.events(), []);
});

test('errors are told with name, type and server; names that do not exist when asked for', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(server);
  using session = await ProbeSession.start('dns', { nxdomain: true });
  a.python(ask(11, 'rcode-2.test', { type: 28 }));
  a.python(ask(3, 'rcode-5.a b\n.test', { address: 'fd99::2', type: 65_000 }));
  a.python(ask(2, 'rcode-3.test'));
  a.python(ask(17, 'good.test'));
  const events = await session.events(a);
  const of = (error: string) => events.filter((e) => e.attributes['error.type'] === error);
  assert.equal(events.length, 16);
  assert.equal(of('SERVFAIL').length, 11);
  assert.equal(of('REFUSED').length, 3);
  assert.equal(of('NXDOMAIN').length, 2);
  const one = of('SERVFAIL')[0]!;
  assert.equal(one.eventName, 'skoop.dns.failed');
  assert.equal(one.attributes['dns.question.name'], 'rcode-2.test');
  assert.equal(one.attributes['skoop.dns.question.type'], 'AAAA');
  assert.equal(one.attributes['server.address'], '10.99.0.2');
  assert.equal(one.attributes['server.port'], 53);
  assert.equal(one.attributes['source.address'], '10.99.0.1');
  assert.match(String(one.body), /^10\.99\.0\.1 asked 10\.99\.0\.2 for AAAA of rcode-2\.test: SERVFAIL after \d/);
  const other = of('REFUSED')[0]!;
  assert.equal(other.attributes['dns.question.name'], 'rcode-5.a\\032b\\010.test');
  assert.equal(other.attributes['skoop.dns.question.type'], 'TYPE65000');
  assert.equal(other.attributes['server.address'], 'fd99::2');
  assert.equal(session.sum('skoop.dns.latency', a, { 'skoop.dns.rcode': 'SERVFAIL' }), 11);
});

test('questions without answer are told once, as soon as they are too old or asked again', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using _up = await b.start(server);
  using session = await ProbeSession.start('dns', { timeout: '300ms' });
  a.python(ask(13, 'silent.test', { wait: false }));
  assert.equal(session.sum('skoop.dns.queries', a), 13);
  await until(() => session.sum('skoop.dns.timeouts', a) === 13);
  const events = await session.events(a);
  assert.equal(events.length, 13);
  for (const e of events) {
    assert.equal(e.attributes['error.type'], 'timeout');
    assert.equal(e.attributes['dns.question.name'], 'silent.test');
    assert.ok(Number(e.attributes['skoop.latency']) >= 0.3);
  }
  // The same number from the same socket, five times: four were asked again.
  a.python(
    ask(1, 'silent.test', { wait: false, id: 7 }).replace(/ {2}s\.send\((.*)\)$/m, '  for j in range(5): s.send($1)'),
  );
  assert.equal(session.sum('skoop.dns.queries', a), 18);
  await until(() => session.sum('skoop.dns.timeouts', a) === 18);
  assert.equal((await session.events(a)).length, 18);
  assert.equal(session.sum('skoop.dns.latency', a), 0);
  assert.equal(session.sum('skoop.dns.queries', b), 0);
});

test('what only looks like DNS is not counted: short, answers without question, other ports', async () => {
  using a = new Netns();
  using b = new Netns();
  connect(a, b);
  using session = await ProbeSession.start('dns', { timeout: '1ms' });
  a.python(
    [
      'import socket',
      's=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)',
      "for n in (0,1,11): s.sendto(b'x'*n,('10.99.0.2',53))",
      "s.sendto(b'\\0\\1\\x81\\x80'+b'\\0'*60,('10.99.0.2',53))",
      "s.sendto(b'\\0\\1\\1\\0'+b'\\0'*60,('10.99.0.2',5353))",
      't=socket.socket(socket.AF_INET,socket.SOCK_STREAM);t.settimeout(1)',
      "t.connect_ex(('10.99.0.2',53))",
      'u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)',
      "u.bind(('',53)); u.sendto(b'\\0\\1\\x81\\x80'+b'\\0'*60,('10.99.0.2',999))",
    ].join('\n'),
  );
  assert.equal(session.sum('skoop.dns.queries', a), 0);
  assert.equal(session.sum('skoop.dns.timeouts', a), 0);
  assert.deepEqual(await session.events(), []);
});
