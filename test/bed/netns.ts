import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { type CommandOptions, command, type Finished, output } from './command.ts';
import { childOf } from './node.ts';

/**
 * A throw-away network namespace: held by a process of ours that ends with the test process, so that none is ever left
 * behind and no name can clash. `lo` is up.
 */
export interface Netns extends AsyncDisposable {
  readonly name: string;
  /** A process that lives in it. */
  readonly pid: number;
  readonly inode: number;
  /** `/proc/PID/ns/net`, for setns and `nsenter --net=`. */
  readonly path: string;
  /** The command line that runs `argv` in it (this mount namespace, this `/sys`). */
  enter(argv: readonly string[]): string[];
  /** Runs a command in it; a failing one throws with all that it said. Returns standard output. */
  output(argv: readonly string[], options?: CommandOptions): Promise<string>;
  /** Runs a command in it to its end, whatever its exit status. */
  run(argv: readonly string[], options?: CommandOptions): Promise<Finished>;
  /** Runs an ES module in it with Node.js and returns what it printed. */
  node(source: string, options?: CommandOptions): Promise<string>;
  /** Twice is safe. */
  stop(): Promise<void>;
}

/**
 * For a shell in a new namespace: makes the interfaces to come keep still, so that packets can be counted to the last one. The kernel sends no
 * router solicitations without a link-local address, and reports the multicast groups of other addresses at once instead of within seconds.
 */
export const keepStill =
  'for f in addr_gen_mode mldv2_unsolicited_report_interval; do ' +
  'p=/proc/sys/net/ipv6/conf/default/$f; [ ! -e $p ] || echo 1 > $p; done';

const holder = `${keepStill}; ip link set lo up && echo ready && exec cat > /dev/null`;

/** Makes a namespace. @param name for the reader of `ip netns`-free output; need not be unique. */
export async function startNetns(name: string): Promise<Netns> {
  const child: ChildProcess = spawn('unshare', ['--net', '--fork', '/bin/sh', '-c', holder], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once('error', reject);
  child.once('close', (code) => reject(new Error(`Cannot make a network namespace: unshare ended with ${code}`)));
  child.stdout!.once('data', () => resolve());
  await promise;
  const pid = await childOf(child.pid!);
  const path = `/proc/${pid}/ns/net`;
  const enter = (argv: readonly string[]) => ['nsenter', `--net=${path}`, '--', ...argv];
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('close', done));
    child.stdin!.end();
    await ended;
  };
  return {
    name,
    pid,
    inode: statSync(path).ino,
    path,
    enter,
    output: (argv, options) => output(enter(argv), options),
    run: (argv, options) => command(enter(argv), options),
    node: (source, options) =>
      output(enter([process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-']), {
        ...options,
        input: source,
      }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

export interface VethOptions {
  /** Interface names. Default `eth0` on both sides. */
  readonly names?: readonly [string, string];
  /** Addresses with prefix, per side. Default 192.0.2.1/24 and fd00:2::1/64 against .2 and ::2. */
  readonly addresses?: readonly [readonly string[], readonly string[]];
}

/** Joins two namespaces by a veth pair, both ends up, IPv6 without duplicate address detection (usable at once). */
export async function joinByVeth(a: Netns, b: Netns, options: VethOptions = {}): Promise<void> {
  const [nameA, nameB] = options.names ?? ['eth0', 'eth0'];
  const [addressesA, addressesB] = options.addresses ?? [
    ['192.0.2.1/24', 'fd00:2::1/64'],
    ['192.0.2.2/24', 'fd00:2::2/64'],
  ];
  await a.output(['ip', 'link', 'add', nameA, 'type', 'veth', 'peer', 'name', nameB, 'netns', String(b.pid)]);
  for (const [ns, name, addresses] of [
    [a, nameA, addressesA],
    [b, nameB, addressesB],
  ] as const) {
    for (const address of addresses) {
      const nodad = address.includes(':') ? ['nodad'] : [];
      await ns.output(['ip', 'address', 'add', address, 'dev', name, ...nodad]);
    }
    await ns.output(['ip', 'link', 'set', name, 'up']);
  }
}

/** Two namespaces joined by a veth pair with {@link joinByVeth}'s default addresses. */
export interface NetnsPair extends AsyncDisposable {
  readonly client: Netns;
  readonly server: Netns;
  readonly clientIp: string;
  readonly serverIp: string;
  readonly clientIp6: string;
  readonly serverIp6: string;
  stop(): Promise<void>;
}

export async function startNetnsPair(): Promise<NetnsPair> {
  const client = await startNetns('client');
  const server = await startNetns('server');
  const stop = async () => {
    await Promise.all([client.stop(), server.stop()]);
  };
  try {
    await joinByVeth(client, server);
  } catch (error) {
    await stop();
    throw error;
  }
  const addresses = { clientIp: '192.0.2.1', serverIp: '192.0.2.2', clientIp6: 'fd00:2::1', serverIp6: 'fd00:2::2' };
  return { client, server, ...addresses, stop, [Symbol.asyncDispose]: stop };
}
