import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { type CommandOptions, command, type Finished, waitFor } from './command.ts';

/**
 * A machine within this machine that plays the Kubernetes node: process, network, mount and UTS namespaces of its own, so
 * that `/proc` shows this node's processes only, pid 1 lives in the node's network namespace, `/run` is its own, and
 * nothing that happens in it reaches the network. When its init ends, which it does when the test process ends for
 * whatever reason, the kernel kills every process in it and drops its mounts and namespaces: nothing can be left behind but
 * empty cgroups, which the next start sweeps.
 *
 * What it shares with the machine: the kernel (and what BPF sees), the root file system below `/run`, the clock.
 */
export interface TestNode {
  /** Host name in there. */
  readonly name: string;
  /** Its pid 1, as seen from outside. */
  readonly initPid: number;
  /** cgroup below which its pods live, with leading slash. */
  readonly cgroup: string;
  /** A path of the node (`/proc/7/net/snmp`, `/run/x`) as a path that this process can open. */
  path(inside: string): string;
  /** Inode of the node's own network namespace. */
  readonly netnsInode: number;
  /** The command line that runs `argv` in the node. */
  enter(argv: readonly string[], options?: { readonly netnsOfPid?: number }): string[];
  /** Runs a command in the node to its end. */
  run(argv: readonly string[], options?: CommandOptions & { readonly netnsOfPid?: number }): Promise<Finished>;
  /** Ends it and all that runs in it. Twice is safe. */
  stop(): Promise<void>;
}

/**
 * Pid 1. A shell, because it reaps orphans while it waits. sysfs is mounted anew, since a sysfs mount shows the network
 * namespace it was made in; what hangs below the old one is carried over. `/run` is private, so that the runtime can use
 * its well-known paths.
 */
const initScript = `
set -e
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/old-sys
mount --rbind /sys /run/old-sys
mount -t sysfs sysfs /sys
for m in fs/cgroup fs/bpf kernel/tracing kernel/debug; do
  [ -d /sys/$m ] && mount --rbind /run/old-sys/$m /sys/$m || true
done
umount -l /run/old-sys
hostname "$1"
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding || true
exec 3<&0
cat <&3 > /dev/null &
echo ready
wait $!
`;

const cgroupPrefix = 'skl-bed';

/** Directories of a cgroup in every mounted hierarchy (v1, v2 or both). */
const cgroupDirectories = (name: string) => [
  ...globSync(`/sys/fs/cgroup/*/${name}`),
  ...globSync(`/sys/fs/cgroup/${name}`),
];

function removeCgroup(directory: string): void {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeCgroup(`${directory}/${entry.name}`);
    }
    rmdirSync(directory);
  } catch {
    // Somebody else swept it, or a process is still being reaped: the next start tries again.
  }
}

/** Removes what test processes that died without saying goodbye left behind. */
function sweep(): void {
  for (const directory of cgroupDirectories(`${cgroupPrefix}-*`)) {
    const owner = /skl-bed-(\d+)-/.exec(directory)?.[1];
    if (owner && !existsSync(`/proc/${owner}`)) removeCgroup(directory);
  }
}

/** The process that `parent` started, once it is there. */
export function childOf(parent: number): Promise<number> {
  return waitFor(`the child of process ${parent}`, () => {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  });
}

async function startInit(name: string): Promise<ChildProcess> {
  const flags = ['--net', '--uts', '--mount', '--propagation', 'private', '--pid', '--fork'];
  const child = spawn('unshare', [...flags, '/bin/sh', '-c', initScript, 'init', name], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once('error', reject);
  child.once('close', (code) => reject(new Error(`The test node's init ended with ${code}: ${said.trim()}`)));
  child.stdout.once('data', () => resolve());
  await promise;
  return child;
}

let serial = 0;

/** Starts a node. @param name its host name, unique only for the reader of logs. */
export async function startNode(name: string): Promise<TestNode> {
  sweep();
  const outer = await startInit(name);
  const initPid = await childOf(outer.pid!);
  const cgroup = `/${cgroupPrefix}-${process.pid}-${++serial}`;
  const path = (inside: string) => `/proc/${initPid}/root${inside}`;

  const enter = (argv: readonly string[], options: { readonly netnsOfPid?: number } = {}) => {
    const { netnsOfPid } = options;
    const net = netnsOfPid === undefined ? '--net' : `--net=${path(`/proc/${netnsOfPid}/ns/net`)}`;
    return ['nsenter', '--target', String(initPid), '--mount', '--root', '--uts', '--pid', net, '--', ...argv];
  };

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    if (outer.exitCode === null && outer.signalCode === null) {
      const ended = new Promise((resolve) => outer.once('close', resolve));
      try {
        process.kill(initPid, 'SIGKILL');
      } catch {
        // It went by itself.
      }
      await ended;
    }
    await waitFor('the cgroups of the test node to be empty', () => {
      for (const directory of cgroupDirectories(cgroup.slice(1))) removeCgroup(directory);
      return cgroupDirectories(cgroup.slice(1)).length === 0;
    });
  };
  return {
    name,
    initPid,
    cgroup,
    path,
    netnsInode: statSync(`/proc/${initPid}/ns/net`).ino,
    enter,
    run: (argv, options = {}) => command(enter(argv, options), options),
    stop: () => (stopping ??= stop()),
  };
}
