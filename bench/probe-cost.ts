/**
 * What each probe costs at each hit: `node bench/probe-cost.ts [--seconds 3] [--all]`. Needs root.
 *
 * Loads every probe of the default config (`--all`: those that are off by default too), as `skoopline doctor` does, and makes traffic in two network namespaces of its own meanwhile: requests and
 * answers over TCP and UDP, connects to closed ports, drops. The kernel's own statistics (bpf_enable_stats) give time and hits; the 30 ns
 * that an empty program shows are taken off.
 */
import { parseArgs } from 'node:util';
import { systemClock } from '../pipeline/clock.ts';
import { testContext } from '../pipeline/testing.ts';
import receiver from '../receivers/ebpf/index.ts';
import { probes } from '../receivers/ebpf/probes.ts';
import { connect, Netns } from '../test/bpf/harness.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, all: { type: 'boolean', default: false } },
});
const seconds = Number(values.seconds);

const server = `import socket,threading
def udp():
  u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('0.0.0.0',5353))
  while True: d,p=u.recvfrom(2048); u.sendto(d,p)
threading.Thread(target=udp,daemon=True).start()
s=socket.create_server(('0.0.0.0',8080)); print('up')
while True:
  c,_=s.accept()
  while True:
    d=c.recv(4096)
    if not d: break
    c.sendall(d)
  c.close()`;
const client = (until: number) => `import socket,time
print('go')
u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.connect(('10.99.0.2',5353)); u.settimeout(1)
x=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
while time.time() < ${until}:
  c=socket.create_connection(('10.99.0.2',8080))
  for i in range(50): c.sendall(b'x'*1000); c.recv(4096); u.send(b'y'); u.recv(10)
  c.close()
  for i in range(20): x.sendto(b'z',('10.99.0.2',9))
  try: socket.create_connection(('10.99.0.2',81))
  except OSError: pass`;

interface Cost {
  readonly section: string;
  readonly program: string;
  readonly hits: number;
  readonly nsPerHit?: number;
}

using a = new Netns();
using b = new Netns();
connect(a, b);
using _server = await b.start(server);
const loading = 20;
using _client = await a.start(client(Date.now() / 1000 + seconds + loading));
const context = { ...testContext({ id: 'ebpf' }), clock: systemClock };
const everything = Object.fromEntries(probes.map((p) => [p.name, { enabled: true }]));
const config = receiver.config.parse(values.all ? { probes: everything } : {});
const findings = await receiver.diagnose!(config, context, { seconds });
for (const { subject, status, text, data } of findings.filter((f) => f.subject.startsWith('probe '))) {
  if (status === 'off') {
    console.log(`${subject.slice(6).padEnd(16)} off: ${text}`);
    continue;
  }
  for (const { section, program, hits, nsPerHit } of (data?.['costs'] ?? []) as readonly Cost[]) {
    const cost = nsPerHit === undefined ? '     -' : String(nsPerHit).padStart(6);
    console.log(
      `${subject.slice(6).padEnd(16)} ${`${section} ${program}`.padEnd(48)} ${cost} ns/hit ${String(hits).padStart(9)} hits`,
    );
  }
}
