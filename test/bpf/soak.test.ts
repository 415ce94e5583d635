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
import { type Agent, startAgent } from '../bed/agent.ts';
import { python, timeScale, waitFor } from '../bed/command.ts';
import { parseExposition, select } from '../bed/exposition.ts';
import { startNode } from '../bed/node.ts';

const long = process.env['SOAK'] !== undefined;
const seconds = (long ? 600 : 24) * timeScale;
const warmUpSeconds = (long ? 60 : 12) * timeScale;
const everyMs = (long ? 5000 : 500) * timeScale;

/** Datagrams to a closed port, TCP connections to one, questions nobody answers, connections that work: in each namespace. */
const each = { datagrams: 7, refused: 3, questions: 2, accepted: 5 };

/** Makes namespaces, one after the other, two at a time, until its input ends; says how many there were. */
const churn = `
import ctypes, fcntl, os, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def life():
  if libc.unshare(0x40000000): os._exit(1)
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x49))
  for i in range(${each.datagrams}): s.sendto(b'x', ('127.0.0.1', 9))
  for i in range(${each.questions}): s.sendto(struct.pack('>HHHHHH', i, 0x100, 1, 0, 0, 0) + b'\\1x\\0\\0\\1\\0\\1', ('127.0.0.1', 53))
  for i in range(${each.refused}):
    try: socket.create_connection(('127.0.0.1', 81))
    except OSError: pass
  l = socket.create_server(('127.0.0.1', 80))
  for i in range(${each.accepted}):
    c = socket.create_connection(('127.0.0.1', 80))
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
while not stop:
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

async function heapBytes(agent: Agent): Promise<number> {
  const samples = parseExposition(await agent.scrape({ address: '127.0.0.1:8888' }));
  return select(samples, 'v8js_memory_heap_used')
    .filter((s) => s.labels['v8js_heap_space_name'] !== 'new_space')
    .reduce((n, s) => n + s.value, 0);
}

/** The default pipeline, with the heap in its own telemetry, and read more often when time is short. */
function pipeline(): object {
  const config = parse(readFileSync(`${import.meta.dirname}/../../pipeline.yaml`, 'utf8'));
  config.service.telemetry = { metrics: { level: 'detailed', address: '127.0.0.1:8888' } };
  if (!long) for (const r of ['procfs', 'netlink', 'ebpf']) config.receivers[r] = { collection_interval: '1s' };
  return config;
}

test(`${warmUpSeconds + seconds} s of namespaces that come and go: no event missed, nothing grows`, async (t) => {
  const node = await startNode('node-churn');
  t.after(() => node.stop());
  const agent = await startAgent(node, pipeline(), { ready: false });
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
  for (let look = 1; look * everyMs <= (warmUpSeconds + seconds) * 1000; look++) {
    const due = began + look * everyMs - performance.now();
    if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
    if (look * everyMs <= warmUpSeconds * 1000) continue;
    seen.heap.push(await heapBytes(agent));
    seen.rss.push(agent.rssBytes());
    seen.entries.push(maps.entries());
    seen.fds.push(agent.fds());
  }
  child.stdin.end();
  const lives = await waitFor('the end of the churn', () => Number(said[1]) || undefined, { timeoutMs: 60_000 });
  if (long) assert.ok(lives >= 10_000, `${lives} namespaces`);

  const third = Math.floor(seen.rss.length / 3);
  const grown = (xs: readonly number[]) => median(xs.slice(-third)) - median(xs.slice(third, 2 * third));
  const told = (xs: readonly number[], unit = 1) =>
    [xs.slice(0, third), xs.slice(third, 2 * third), xs.slice(-third)]
      .map((x) => Math.round(median(x) / unit))
      .join(', ');
  t.diagnostic(
    `${lives} namespaces; medians of thirds: RSS ${told(seen.rss, MiB)} MiB, heap ${told(seen.heap, MiB)} MiB,`,
  );
  t.diagnostic(`map entries ${told(seen.entries)}, descriptors ${told(seen.fds)} (before ${before.fds})`);
  assert.ok(median(seen.heap) > MiB);
  assert.ok(grown(seen.rss) <= 6 * MiB, 'RSS grows');
  assert.ok(grown(seen.heap) <= 4 * MiB, 'heap grows');
  assert.ok(grown(seen.entries) <= median(seen.entries) / 4, 'entries in maps grow');
  assert.ok(grown(seen.fds) <= 2, 'descriptors grow');

  // Every datagram to the closed port and every refused connection was told, whoever had the inode.
  const count = (type: string, port: number) =>
    agent.events().filter((e) => e['type'] === type && e['dport'] === String(port)).length;
  const all = () => [count('PACKETLOSS', 9), count('PACKETLOSS', 53), count('TCPRESET_NOSOCK', 81)];
  const wanted = [each.datagrams * lives, each.questions * lives, each.refused * lives];
  await waitFor('the last events', () => all()[0]! >= wanted[0]!, { timeoutMs: 20_000 }).catch(() => {});
  assert.deepEqual(all(), wanted);
  const samples = await agent.samples();
  assert.deepEqual(select(samples, 'skoop_probe_map_full_total'), []);

  await waitFor('the maps to be as empty as before', () => maps.entries() <= before.entries + 64, {
    timeoutMs: (long ? 120_000 : 40_000) * timeScale,
    everyMs: 500,
  });
  assert.equal(await agent.stop(), 0);
});
