import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { output } from '../bed/command.ts';
import type { Kernel } from './kernel.ts';

/** What stands between the kernel and the shared root: virtio, 9p and overlay. */
const modules = ['virtio_pci', '9p', '9pnet_virtio', 'overlay'];

const applets = ['sh', 'mount', 'mkdir', 'insmod', 'switch_root', 'echo', 'cat', 'poweroff', 'dirname'];

/**
 * Mounts this machine's root and the working copy read-only over 9p with a tmpfs over each, so that the guest has every
 * program of the host and changes nothing of it; then goes on in guest-init.sh. The sources come from a copy that stands still:
 * a file that is edited on the host while the guest reads it comes out torn.
 */
const init = `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for m in /modules/*; do insmod $m || echo "insmod $m failed"; done
for w in $(cat /proc/cmdline); do
  case $w in skl.repo=*) repo=\${w#skl.repo=};; esac
done
share() { # TAG
  mkdir -p /lower/$1
  mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose $1 /lower/$1
}
layered() { # NAME LOWER MOUNTPOINT
  mkdir -p /upper/$1 $3
  mount -t tmpfs -o size=40% tmpfs /upper/$1
  mkdir /upper/$1/changes /upper/$1/work
  mount -t overlay -o lowerdir=$2,upperdir=/upper/$1/changes,workdir=/upper/$1/work overlay $3
}
lost() { echo 'skl: cannot mount the shared root'; poweroff -f; }
share root && share repo && share sources && layered root /lower/root /new || lost
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs dev /new/dev
mount -t tmpfs -o mode=755 tmpfs /new/run
mount -t tmpfs tmpfs /new/tmp
# After /tmp and /run: the working copy may be below them.
layered repo /lower/sources:/lower/repo /new$repo || lost
exec switch_root /new /bin/bash $repo/test/kernels/guest-init.sh
`;

/** The module files to load, in an order that satisfies their dependencies. */
async function moduleFiles(kernel: Kernel): Promise<string[]> {
  const files = new Set<string>();
  for (const name of modules) {
    const shown = await output(['modprobe', '-d', kernel.directory, '-S', kernel.release, '--show-depends', name]);
    // `builtin x` lines need nothing.
    for (const [, file] of shown.matchAll(/^insmod (\S+)/gm)) files.add(file!);
  }
  return [...files];
}

/** Writes the initramfs of a kernel beside it, once; about 2 MB. Returns its path. */
export async function initramfs(kernel: Kernel): Promise<string> {
  const key = createHash('sha256').update(init).digest('hex').slice(0, 12);
  const out = join(kernel.directory, `initramfs-${key}.gz`);
  if (existsSync(out)) return out;
  const work = mkdtempSync(join(tmpdir(), 'skl-initramfs-'));
  try {
    for (const d of ['bin', 'proc', 'dev', 'modules', 'lower', 'upper', 'new']) mkdirSync(join(work, d));
    copyFileSync('/bin/busybox', join(work, 'bin/busybox'));
    for (const applet of applets) symlinkSync('busybox', join(work, 'bin', applet));
    const files = await moduleFiles(kernel);
    for (const [i, file] of files.entries()) {
      const target = join(
        work,
        'modules',
        `${String(i).padStart(2, '0')}-${basename(file).replace(/\.(xz|zst)$/, '')}`,
      );
      copyFileSync(file, file.endsWith('.ko') ? target : `${target}${/\.\w+$/.exec(file)![0]}`);
      if (file.endsWith('.xz')) await output(['xz', '-d', `${target}.xz`]);
      if (file.endsWith('.zst')) await output(['zstd', '-q', '-d', '--rm', `${target}.zst`]);
    }
    writeFileSync(join(work, 'init'), init);
    chmodSync(join(work, 'init'), 0o755);
    const made = `${out}.${process.pid}`;
    await output(['sh', '-c', 'find . | busybox cpio -o -H newc | gzip -1 > "$1"', 'sh', made], { cwd: work });
    await output(['mv', made, out]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return out;
}
