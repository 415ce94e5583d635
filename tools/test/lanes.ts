import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** One lane of tests: which files, what they need, and how long they may take. CONTRIBUTING.md says what belongs where. */
export interface Lane {
  readonly name: string;
  /** Globs below the root of the working copy. */
  readonly files: readonly string[];
  /** Test files at a time. Lanes that load the kernel or the runtime run theirs one by one. */
  readonly concurrency: number;
  /** Longest a single test (and a single file) may take, seconds. */
  readonly testTimeoutS: number;
  /** Longest the lane may take, seconds; then its processes are ended and the lane has failed. */
  readonly timeoutS: number;
  /** Why this lane cannot run here, proved by looking; undefined when it can. */
  readonly missing: () => string | undefined;
  /**
   * Commands that fetch and build what the tests use (peers that no distribution has), begun with the run and ended before the lane's
   * clock starts: a new machine takes minutes for them. One that fails fails nothing here; the tests that miss the thing say why.
   */
  readonly prepare?: readonly (readonly string[])[];
  /** Lanes of one track run one after another, tracks of one phase side by side. */
  readonly phase: number;
  readonly track: string;
}

/** The path of a program, looked up as the shell does, or undefined. */
export function which(program: string): string | undefined {
  for (const dir of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const path = join(dir, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Emulated guests (test/kernels) are slower by about this factor. */
const timeScale = Number(process.env['SKOOPLINE_TIME_SCALE'] ?? 1);

const root = () => (process.getuid?.() === 0 ? undefined : `needs root, runs as uid ${process.getuid?.()}`);
const program = (name: string) => (which(name) ? undefined : `${name} is not installed`);
const path = (name: string) => (existsSync(name) ? undefined : `${name} does not exist on this kernel`);

/** CAP_SYS_ADMIN (bit 21) of this process: namespaces need it, and root in a container may lack it. */
function sysAdmin(): string | undefined {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${effective}`) >> 21n) & 1n
    ? undefined
    : 'root here has no CAP_SYS_ADMIN (CapEff in /proc/self/status)';
}

const first = (...checks: readonly (() => string | undefined)[]) => {
  for (const check of checks) {
    const why = check();
    if (why) return why;
  }
  return undefined;
};

const namespaces = () =>
  first(
    root,
    sysAdmin,
    () => program('ip'),
    () => program('nsenter'),
  );
const containers = () =>
  first(
    namespaces,
    () => program('containerd'),
    () => program('runc'),
    () => path('/usr/lib/cni/bridge'),
    () => path('/bin/busybox'),
  );
const amd64 = () => (process.arch === 'x64' ? undefined : `only amd64 kernels are wired up, this is ${process.arch}`);
const nested = () => (process.env['SKOOPLINE_GUEST'] ? 'this is an emulated guest already' : undefined);

const all: readonly Lane[] = [
  {
    name: 'unit',
    files: [
      '{pipeline,view,host,bpf,receivers,processors,exporters,cli,tools,deploy,bench}/**/*.test.ts',
      'test/bed/**/*.test.ts',
      '*.test.ts',
    ],
    concurrency: 2,
    testTimeoutS: 60,
    timeoutS: 420,
    missing: () => undefined,
    phase: 1,
    track: 'a',
  },
  {
    name: 'golden',
    files: ['test/golden/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 60,
    timeoutS: 240,
    missing: () => undefined,
    phase: 1,
    track: 'b',
  },
  {
    name: 'conformance',
    files: ['test/conformance/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 120,
    timeoutS: 240,
    missing: () => undefined,
    phase: 1,
    track: 'b',
  },
  {
    name: 'netlink',
    files: ['test/netlink/**/*.test.ts', 'test/netns/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 120,
    timeoutS: 240,
    missing: namespaces,
    phase: 2,
    track: 'a',
  },
  {
    name: 'bpf',
    files: ['test/bpf/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 120,
    timeoutS: 480,
    missing: () =>
      first(
        namespaces,
        () => path('/sys/kernel/btf/vmlinux'),
        () => program('clang'),
      ),
    phase: 2,
    track: 'a',
  },
  {
    name: 'pods',
    files: ['test/pods/**/*.test.ts', 'test/cri/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 240,
    timeoutS: 600,
    missing: containers,
    phase: 2,
    track: 'a',
  },
  {
    name: 'interop',
    files: ['test/interop/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: 700,
    timeoutS: 720,
    missing: () =>
      first(
        root,
        () => program('prometheus'),
        () => program('promtool'),
      ),
    prepare: [[process.execPath, 'test/interop/build-collector.ts'], ['tools/setup/helm.sh']],
    phase: 2,
    track: 'b',
  },
  {
    name: 'faults',
    files: ['test/faults/**/*.test.ts'],
    concurrency: 1,
    testTimeoutS: process.env['SOAK'] ? 3600 : 580,
    timeoutS: process.env['SOAK'] ? 7200 : 600,
    missing: root,
    phase: 2,
    track: 'b',
  },
  {
    name: 'kernels',
    files: ['test/kernels/**/*.test.ts'],
    // One machine a kernel, side by side.
    concurrency: 2,
    testTimeoutS: process.env['SKOOPLINE_FULL'] ? 3700 : 640,
    timeoutS: process.env['SKOOPLINE_FULL'] ? 7500 : 660,
    missing: () =>
      first(
        nested,
        amd64,
        namespaces,
        () => program('qemu-system-x86_64'),
        () => program('dpkg-deb'),
        () => path('/bin/busybox'),
      ),
    phase: 3,
    track: 'a',
  },
];

/**
 * All lanes. Their limits add up so that a whole run on two cores ends within 40 minutes even when each lane hangs:
 * the slower track of each phase is 420 + 1320 + 660 s.
 */
export const lanes: readonly Lane[] = all.map((lane) => ({
  ...lane,
  testTimeoutS: lane.testTimeoutS * timeScale,
  timeoutS: lane.timeoutS * timeScale,
}));
