/**
 * Network namespaces that come and go, with traffic and trouble in each, under the default pipeline: nothing is missed, and nothing in the agent or
 * in its kernel maps grows with their number. SOAK=1: ten minutes and at least 10 000 of them; else half a minute, read every second.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { parse } from 'yaml';
import { libbpf } from '../../host/bpf/libbpf.ts';
import { loadLibrary } from '../../host/ffi/libc.ts';
import { startAgent } from '../bed/agent.ts';
import { python, timeScale, waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';
import { startNode, type TestNode } from '../bed/node.ts';

const long = process.env['SOAK'] !== undefined;
const seconds = (long ? 600 : 24) * timeScale;
const warmUpSeconds = (long ? 60 : 12) * timeScale;
const everyMs = (long ? 5000 : 500) * timeScale;

/** Datagrams to a closed port, TCP connections to one, questions nobody answers, connections that work: in each namespace. */
const each = { datagrams: 7, refused: 3, questions: 2, accepted: 5 };

/** Where it all goes: no other test on this machine uses this address. */
const here = `127.77.${(process.pid >> 8) & 255}.${process.pid & 255}`;

/** Makes namespaces, one after the other, two at a time, until its input ends; says how many there were. */
const churn = `
import ctypes, fcntl, os, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def life():
  if libc.unshare(0x40000000): os._exit(1)
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x49))
  for i in range(${each.datagrams}): s.sendto(b'x', ('${here}', 9))
  for i in range(${each.questions}): s.sendto(struct.pack('>HHHHHH', i, 0x100, 1, 0, 0, 0) + b'\\1x\\0\\0\\1\\0\\1', ('${here}', 53))
  for i in range(${each.refused}):
    try: socket.create_connection(('${here}', 81))
    except OSError: pass
  l = socket.create_server(('${here}', 80))
  for i in range(${each.accepted}):
    c = socket.create_connection(('${here}', 80))
    a, _ = l.accept()
    c.sendall(b'x' * 1000); a.recv(1000); a.sendall(b'y'); c.recv(1); c.close(); a.close()
  os._exit(0)
stop = False
def wait():
  global stop
  sys.stdin.read()
  stop = True
threading.Thread(target=wait, daemon=True).start()
print('up', flush=True)
n = 0
due = time.monotonic()
while not stop:
  # 20 a second at most: more that have just ended than the maps have room for would be counted as such, which is another test.
  due = max(due + 0.1, time.monotonic() - 1)
  time.sleep(max(0, due - time.monotonic()))
  both = []
  for i in range(2):
    p = os.fork()
    if not p:
      try: life()
      finally: os._exit(1)
    both.append(p)
  for p in both:
    if os.waitpid(p, 0)[1]: sys.exit('a life failed')
  n += 2
print(n, flush=True)`;

/** Types of maps whose entries come and go: hash, per-CPU hash, and both with least recently used first out. */
const hashes: ReadonlySet<number> = new Set([1, 5, 9, 10]);

/** The kernel maps that a process holds, opened beside it. */
class MapsOf implements Disposable {
  readonly #fds: { readonly fd: number; readonly keySize: number }[] = [];

  constructor(pid: number) {
    const open = loadLibrary('libbpf.so.1')!.func('int bpf_map_get_fd_by_id(uint32_t id)');
    const seen = new Set<number>();
    for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(info)?.[1]);
      const id = of('map_id');
      if (!hashes.has(of('map_type')) || seen.has(id)) continue;
      seen.add(id);
      this.#fds.push({ fd: open(id) as number, keySize: of('key_size') });
    }
    assert.ok(this.#fds.length > 10);
  }

  /** Entries in all of them. */
  entries(): number {
    let n = 0;
    for (const { fd, keySize } of this.#fds) {
      let key: Buffer | null = null;
      for (let next = Buffer.alloc(keySize); libbpf().nextKey(fd, key, next) === 0; next = Buffer.alloc(keySize)) {
        key = next;
        n++;
      }
    }
    return n;
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#fds) closeSync(fd);
  }
}

const median = (xs: readonly number[]) => xs.toSorted((a, b) => a - b)[xs.length >> 1]!;
const MiB = 1 << 20;

const inspector = '127.0.0.1:9229';
/** Asks the inspector of a process to collect garbage, and prints what is left of the heap. */
const collect = `
const [{ webSocketDebuggerUrl }] = await (await fetch('http://${inspector}/json/list')).json();
const socket = new WebSocket(webSocketDebuggerUrl);
await new Promise((resolve) => socket.addEventListener('open', resolve));
let serial = 0;
const ask = (method) => new Promise((resolve) => {
  const id = ++serial;
  socket.addEventListener('message', ({ data }) => JSON.parse(data).id === id && resolve(JSON.parse(data).result));
  socket.send(JSON.stringify({ id, method }));
});
for (let i = 0; i < 3; i++) await ask('HeapProfiler.collectGarbage');
console.log((await ask('Runtime.getHeapUsage')).usedSize);
process.exit();`;

async function heapBytes(node: TestNode): Promise<number> {
  const { stdout, stderr } = await node.run([process.execPath, '--input-type=module', '-e', collect]);
  assert.ok(Number(stdout) > 0, stderr);
  return Number(stdout);
}

/** The default pipeline, read more often when time is short. */
function pipeline(): object {
  const config = parse(readFileSync(`${import.meta.dirname}/../../pipeline.yaml`, 'utf8'));
  if (!long) for (const r of ['procfs', 'netlink', 'ebpf']) config.receivers[r] = { collection_interval: '1s' };
  return config;
}

test(`${warmUpSeconds + seconds} s of namespaces that come and go: no event missed, nothing grows`, async (t) => {
  const node = await startNode('node-churn');
  t.after(() => node.stop());
  const agent = await startAgent(node, pipeline(), {
    ready: false,
    env: { NODE_OPTIONS: `--inspect=${inspector}` },
  });
  await waitFor('the probes to be on', () => /Probe virtcmdlatency is o/.test(agent.log()), { timeoutMs: 60_000 });
  using maps = new MapsOf(agent.pid);
  const before = { entries: maps.entries(), fds: agent.fds() };

  const [program = '', ...argv] = node.enter([python, '-c', churn]);
  const child = spawn(program, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  const said: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => said.push(line));
  await waitFor('the churn', () => said.length === 1);

  const seen = { rss: [] as number[], heap: [] as number[], entries: [] as number[], fds: [] as number[] };
  const began = performance.now();
  const looks = Math.floor((seconds * 1000) / everyMs);
  const warmUp = Math.ceil((warmUpSeconds * 1000) / everyMs);
  for (let look = 1; look <= warmUp + looks; look++) {
    const due = began + look * everyMs - performance.now();
    if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
    if (look <= warmUp) continue;
    if ((look - warmUp) % Math.floor(looks / 3) === 0) seen.heap.push(await heapBytes(node));
    seen.rss.push(agent.rssBytes());
    seen.entries.push(maps.entries());
    seen.fds.push(agent.fds());
  }
  child.stdin.end();
  const lives = await waitFor('the end of the churn', () => Number(said[1]) || undefined, { timeoutMs: 60_000 });
  if (long) assert.ok(lives >= 10_000, `${lives} namespaces`);

  // Every datagram to the closed port and every refused connection was told, whoever had the inode.
  const all = () => {
    const told = new Map<string, number>();
    for (const { type, daddr, dport } of agent.events() as { type?: string; daddr?: string; dport?: string }[]) {
      if (daddr !== here) continue;
      told.set(`${type} ${dport}`, (told.get(`${type} ${dport}`) ?? 0) + 1);
    }
    return ['PACKETLOSS 9', 'PACKETLOSS 53', 'TCPRESET_NOSOCK 81'].map((what) => told.get(what) ?? 0);
  };
  const wanted = [each.datagrams * lives, each.questions * lives, each.refused * lives];
  const complete = () => all().every((n, i) => n >= wanted[i]!);
  await waitFor('the last events', complete, { timeoutMs: 20_000, everyMs: 500 }).catch(() => {});
  const found = all();
  t.diagnostic(`${lives} namespaces; told ${found.join(', ')} of ${wanted.join(', ')} events`);
  const third = Math.floor(seen.rss.length / 3);
  const thirds = (xs: readonly number[], of: (part: readonly number[]) => number) =>
    [xs.slice(0, third), xs.slice(third, 2 * third), xs.slice(-third)].map(of);
  const [rss, entries, fds] = [thirds(seen.rss, median), thirds(seen.entries, median), thirds(seen.fds, median)];
  const { heap } = seen;
  const inMiB = (xs: readonly number[]) => xs.map((x) => Math.round(x / MiB)).join(', ');
  t.diagnostic(
    `${lives} namespaces; by thirds of the time: RSS ${inMiB(rss)} MiB, heap without garbage ${heap.map((x) => (x / MiB).toFixed(1)).join(', ')} MiB,`,
  );
  t.diagnostic(`map entries ${entries.join(', ')}, descriptors ${fds.join(', ')} (${before.fds} before)`);
  assert.deepEqual(found, wanted);
  const samples = await agent.samples();
  assert.deepEqual(select(samples, 'skoop_probe_map_full_total'), []);
  const grown = ([, middle = 0, last = 0]: readonly number[]) => last - middle;
  assert.ok(grown(rss) <= Math.max(8 * MiB, rss[1]! / 20), 'RSS grows');
  assert.ok(grown(heap) <= 2 * MiB, 'heap grows');
  assert.ok(grown(entries) <= entries[1]! / 4, 'entries in maps grow');
  assert.ok(grown(fds) <= 2, 'descriptors grow');

  await waitFor('the maps to be as empty as before', () => maps.entries() <= before.entries + 64, {
    timeoutMs: (long ? 120_000 : 40_000) * timeScale,
    everyMs: 500,
  });
  assert.equal(await agent.stop(), 0);
});
