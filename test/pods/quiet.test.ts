/** Ordinary traffic between pods, with no fault: the default pipeline tells of no loss, no reset, no failure. QUIET_SECONDS=120 for long. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';
import { counterOf, type Site, startWorld, type World } from './faults-world.ts';

const pipeline = readFileSync(`${import.meta.dirname}/../../pipeline.yaml`, 'utf8');
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';
const seconds = Number(process.env['QUIET_SECONDS'] ?? (process.env['SOAK'] ? 120 : 30));

/**
 * What says that something was lost or failed. TCP sends again what was only late or overtaken, on a busy machine, and that is true: those
 * events are compared with the kernel's counter. Latencies are of the machine's load, link changes of pods that come and go.
 */
const trouble =
  /^(PACKETLOSS|TCPRESET_\w+|skoop\.(tcp\.(connect_failed|accept_queue_full|syn_queue_full)|udp\.buffer_full|dns\.\w+))$/;

/** Serves requests of one line with answers of n bytes; `c` closes first when asked to `bye`. All on one thread, until asked for `end`. */
const server = (port: number) => `
import threading
def serve(c):
  with c:
    f = c.makefile('rb')
    for line in f:
      if line == b'bye\\n': return
      c.sendall(b'x' * int(line))
def accept(ls):
  while True:
    try: c, _ = ls.accept()
    except OSError: return
    threading.Thread(target=serve, args=(c,), daemon=True).start()
def echo(u):
  while True:
    d, a = u.recvfrom(2048)
    u.sendto(d, a)
ls = listen(${port}, 256)
u = socket.socket(socket.AF_INET, UDP); u.bind(('0.0.0.0', ${port}))
threading.Thread(target=accept, args=(ls,), daemon=True).start()
threading.Thread(target=echo, args=(u,), daemon=True).start()`;

/** One round of a client: a connection kept for several requests, one that each end closes first, a half-closed one, datagrams. */
const client = (to: string, port: number) => `
def ask(s, n):
  s.sendall(b'%d\\n' % n)
  left = n
  while left: left -= len(s.recv(min(left, 65536)))
def round():
  for last in ('client', 'server', 'half'):
    with socket.create_connection(('${to}', ${port}), 10) as s:
      for n in (10, 100000, 1): ask(s, n)
      if last == 'server':
        s.sendall(b'bye\\n')
        assert s.recv(1) == b''
      elif last == 'half':
        s.shutdown(1)
        assert s.recv(1) == b''
  with socket.socket(socket.AF_INET, UDP) as s:
    s.settimeout(10)
    for n in (1, 512, 1400):
      s.sendto(b'd' * n, ('${to}', ${port}))
      assert len(s.recv(2048)) == n
out = 0
until = time.monotonic() + 1
while time.monotonic() < until:
  round()
  out += 1`;

describe('ordinary traffic', { skip: noBtf }, () => {
  let world: World;
  before(async () => {
    world = await startWorld(pipeline);
  });
  after(() => world?.stop());

  test(`${seconds} s of it make no event of loss or failure`, async (t) => {
    const { client: a, server: b, slowServer: c, node, host, bed, agent } = world;
    const port = world.port();
    const servers: readonly Site[] = [b, c, node];
    for (const s of servers) await s.hands.run(server(port));
    await host.pod!.exec(['sh', '-c', 'httpd -p 8081 -h /www']);
    const from = agent.lines().length;
    const pods = world.sites.filter((s) => s.pod !== undefined && !s.pod.hostNetwork);
    const sentAgain = () => pods.map((s) => counterOf(s, 'Tcp.RetransSegs'));
    const before = sentAgain();
    const clients: readonly [Site, string][] = [
      [a, b.ip],
      [world.slowClient, c.ip],
      // From the node to a pod, and from a pod to the node, where hostNetwork pods listen.
      [world.other, node.ip],
    ];
    const rounds = { traffic: 0, restarts: 0 };
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      const all = await Promise.all(clients.map(([site, to]) => site.hands.run<number>(client(to, port))));
      rounds.traffic += all.reduce((n, m) => n + m, 0);
      await node.hands.run(client(b.ip, port));
      // A pod that starts, serves, asks and goes.
      const pod = await bed.runPod({
        name: `guest-${rounds.restarts++}`,
        namespace: 'shop',
        command: ['httpd', '-f', '-p', '80', '-h', '/www'],
      });
      const listening = () =>
        ['net/tcp', 'net/tcp6'].some((f) => / [0-9A-F]+:0050 /.test(readFileSync(pod.proc(f), 'utf8')));
      await waitFor('its server to listen', listening);
      const get = (url: string) => `timeout 20 wget -qO /dev/null ${url}`;
      const asked = await pod.exec(['sh', '-c', `${get('http://127.0.0.1/')} && ${get(`http://${node.ip}:8081/`)}`]);
      assert.equal(asked.code, 0, asked.stderr);
      const curl = await a.pod!.inNetns([
        'curl',
        '-sS',
        '-o',
        '/dev/null',
        `http://${pod.ip}/`,
        '-o',
        '/dev/null',
        `http://${pod.ip}/index.html`,
      ]);
      assert.equal(curl.code, 0, curl.stderr);
      await bed.removePod(pod);
    }
    await agent.scrape();
    const ours = /^(hostNetwork|host-\d|(client|server|other|guest)-\d+)$/;
    const told = agent.events().filter((e) => trouble.test(e['type'] ?? '') && ours.test(e['pod'] ?? ''));
    const lines = new Map<string, number>();
    for (const e of told) {
      const key = JSON.stringify({ ...e, sport: undefined });
      lines.set(key, (lines.get(key) ?? 0) + 1);
    }
    assert.deepEqual([...lines], []);
    assert.ok(rounds.traffic > 0 && rounds.restarts > 0);
    t.diagnostic(
      `${rounds.traffic} rounds of traffic, ${rounds.restarts} pods started and removed, no event of loss or failure`,
    );
    const again = (pod: string) =>
      agent
        .events()
        .filter((e) => e['type'] === 'TCPRETRANS' && e['pod'] === pod)
        .reduce((n, e) => n + Number(e['skoop.retransmit.segments']), 0);
    const seen = () => pods.map((s) => [s.name, again(s.name)]);
    const counted = () => sentAgain().map((n, i) => [pods[i]!.name, n - before[i]!]);
    await waitFor('the last events', () => isDeepStrictEqual(seen(), counted()), { timeoutMs: 5_000 }).catch(() => {});
    assert.deepEqual(seen(), counted(), 'segments sent again');
    t.diagnostic(`${agent.lines().length - from} lines in all`);
    // The traffic was seen: silence is not blindness.
    await agent.until(
      'the connections that were accepted',
      (samples) =>
        select(samples, 'skoop_tcp_accepted_total', { k8s_pod_name: b.name }).reduce((n, s) => n + s.value, 0) > 0,
    );
  });
});
