import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, output } from '../bed/command.ts';

/** An unpacked Debian kernel package. */
export interface Kernel {
  /** What was asked for: `6.1`. */
  readonly series: string;
  /** What it calls itself: `6.1.0-56-amd64`. */
  readonly release: string;
  readonly image: string;
  /** Holds `lib/modules/<release>`. */
  readonly directory: string;
}

const cache = join(import.meta.dirname, '../../.cache/kernels');

/** Names of this release's stock kernels of a series, newest first; without debug, cloud, real-time and unsigned ones. */
export function newestOf(series: string, names: readonly string[]): string[] {
  const pattern = new RegExp(`^linux-image-${series.replace('.', '\\.')}\\.\\d+(-\\d+)?(\\+[a-z0-9]+)?(-\\d+)?-amd64$`);
  const compare = new Intl.Collator('en', { numeric: true }).compare;
  return names.filter((name) => pattern.test(name)).sort((a, b) => compare(b, a));
}

async function packageOf(series: string): Promise<string> {
  const search = async () => (await command(['apt-cache', 'pkgnames', `linux-image-${series}`])).stdout.split('\n');
  let found = newestOf(series, await search());
  if (found.length === 0) {
    await command(['apt-get', 'update', '-qq'], { timeoutMs: 180_000 });
    found = newestOf(series, await search());
  }
  if (!found[0])
    throw new Error(
      `apt knows no linux-image-${series}.*-amd64 (its sources lack the release or backports that has it)`,
    );
  return found[0];
}

async function fetch(series: string, directory: string): Promise<void> {
  const name = await packageOf(series);
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, '.fetching-'));
  try {
    // As root, apt fetches as the user _apt, which may not write here: harmless, it then fetches as root.
    await output(['apt-get', 'download', '-qq', name], { cwd: work, timeoutMs: 300_000 });
    const deb = readdirSync(work).find((f) => f.endsWith('.deb'));
    if (!deb) throw new Error(`apt-get download ${name} fetched nothing`);
    await output(['dpkg-deb', '-x', deb, 'unpacked'], { cwd: work, timeoutMs: 180_000 });
    const release = readdirSync(join(work, 'unpacked/lib/modules'))[0]!;
    await output(['depmod', '-b', join(work, 'unpacked'), release]);
    if (!existsSync(directory)) renameSync(join(work, 'unpacked'), directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * The newest stock Debian kernel of a series, fetched with apt once and kept in `.cache/kernels`.
 *
 * @throws Error with one sentence saying why this machine cannot have it.
 */
export async function debianKernel(series: string): Promise<Kernel> {
  const directory = join(cache, series);
  if (!existsSync(directory)) await fetch(series, directory);
  const release = readdirSync(join(directory, 'lib/modules'))[0]!;
  return { series, release, image: join(directory, `boot/vmlinuz-${release}`), directory };
}
