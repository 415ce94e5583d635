import { spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { initramfs } from './initramfs.ts';
import type { Kernel } from './kernel.ts';

export interface GuestOptions {
  /** After this the machine is switched off and {@link runInKernel} throws. Default 120 s; emulation is about 10× slower. */
  readonly timeoutS?: number;
  readonly memoryMiB?: number;
  readonly cpus?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** What a command left in the guest. */
export interface GuestResult {
  readonly exit: number;
  /** Standard output and standard error of the command. */
  readonly log: string;
  /** What the kernel wrote to its console. */
  readonly console: string;
  /** Where the guest's `/out` landed. */
  readonly out: string;
  readonly seconds: number;
}

const repository = resolve(import.meta.dirname, '../..');

/** A folder for the guest's `/out` that no other run uses; what earlier runs left is removed. */
function freshOutput(kernel: Kernel): string {
  const parent = join(repository, '.output/kernels');
  mkdirSync(parent, { recursive: true });
  for (const name of readdirSync(parent)) {
    if (!existsSync(`/proc/${name.split('-').at(-1)}`)) rmSync(join(parent, name), { recursive: true, force: true });
  }
  const out = join(parent, `${kernel.series}-${process.pid}`);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  return out;
}

/** Folders of the working copy that are large and stand still while tests run, or are of no use to a guest. */
const notCopied = /^(node_modules|\.node|\.git|\.cache|dist|\.output\/(?!bpf(\/|$)).*)$/;

/** A copy of the sources and of the built BPF objects. */
function copySources(directory: string): void {
  cpSync(repository, directory, {
    recursive: true,
    filter: (path) => !notCopied.test(relative(repository, path)),
  });
}

/** One 9p share. @param path of the host, read-only unless `writable`. */
function share(tag: string, path: string, writable = false): string[] {
  // multidevs=remap: a root that spans devices would otherwise give equal inode numbers to different files.
  const access = writable ? '' : ',readonly=on';
  const device = `local,id=${tag},path=${path},security_model=none,multidevs=remap${access}`;
  return ['-fsdev', device, '-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`];
}

/**
 * Boots a kernel under software emulation (KVM is neither needed nor used) with this machine's root and working copy below
 * a throw-away overlay, runs a shell command in it as root and switches it off. There is no network card: nothing leaves.
 */
export async function runInKernel(
  kernel: Kernel,
  shellCommand: string,
  options: GuestOptions = {},
): Promise<GuestResult> {
  const { timeoutS = 120, memoryMiB = 2048, cpus = 2 } = options;
  const began = performance.now();
  const out = freshOutput(kernel);
  writeFileSync(join(out, 'command'), `${shellCommand}\n`);
  const env = {
    PATH: process.env['PATH'] ?? '',
    SKOOPLINE_GUEST: kernel.release,
    SKOOPLINE_TIME_SCALE: '6',
    ...options.env,
  };
  const quoted = Object.entries(env).map(([key, value]) => `export ${key}='${value.replaceAll("'", `'\\''`)}'\n`);
  writeFileSync(join(out, 'environment'), quoted.join(''));

  const work = mkdtempSync(join(tmpdir(), 'skl-guest-'));
  const root = join(work, 'root');
  const sources = join(work, 'sources');
  mkdirSync(root);
  copySources(sources);
  const modules = join(kernel.directory, 'lib/modules');
  const append = ['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'tsc=unstable'];
  append.push(`skl.repo=${repository}`, `skl.modules=${modules}`);
  const argv = [
    ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', String(memoryMiB), '-smp', String(cpus)],
    ...['-nographic', '-no-reboot', '-nodefaults', '-serial', 'stdio', '-nic', 'none'],
    ...['-kernel', kernel.image, '-initrd', await initramfs(kernel), '-append', append.join(' ')],
    ...share('root', root),
    ...share('repo', repository),
    ...share('sources', sources),
    ...share('out', out, true),
  ];
  // Only the root file system itself is shared, by a bind that leaves /proc, /sys and other mounts out; the mount lives in a
  // namespace of its own and ends with the machine. The machine is switched off by the end of standard input: it cannot
  // outlive a test process that is killed.
  const script = `
mount --bind / "$0" || exit 1
exec 3<&0
qemu-system-x86_64 "$@" < /dev/null &
machine=$!
{ cat <&3; kill -KILL $machine; } > /dev/null 2>&1 &
wait $machine
kill $! 2> /dev/null`;
  const unshare = ['--mount', '--propagation', 'private', 'sh', '-c', script, root, ...argv];
  const child = spawn('unshare', unshare, { stdio: ['pipe', 'pipe', 'pipe'] });
  let consoleText = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      consoleText += text;
      appendFileSync(join(out, 'console'), text);
    });
  }
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.stdin.end();
  }, timeoutS * 1000);
  await new Promise((done) => child.once('close', done));
  clearTimeout(timer);
  rmSync(work, { recursive: true, force: true });

  const text = (file: string) => (existsSync(join(out, file)) ? readFileSync(join(out, file), 'utf8') : undefined);
  const exit = text('exit');
  if (exit === undefined) {
    const why = late ? `did not finish within ${timeoutS} s` : 'switched off without a result';
    const tail = `${consoleText}\n${text('log') ?? ''}`.trim().split('\n').slice(-15).join('\n');
    throw new Error(`The guest with ${kernel.release} ${why}. It said last:\n${tail}`);
  }
  const seconds = (performance.now() - began) / 1000;
  return { exit: Number(exit), log: text('log') ?? '', console: consoleText, out, seconds };
}
