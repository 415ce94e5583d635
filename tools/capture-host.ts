/**
 * Captures what the procfs receiver reads on this machine into test/hosts/<name>/, redacted, so that a test can replay it:
 *
 *     node tools/capture-host.ts debian12-6.18-vm [--pids 1,4711]
 *
 * It runs one real collection through a proc root that writes down every answer, so what is captured is what is read, always. Of the processes,
 * only those that stand for a namespace and those of pods are kept, or the ones named by --pids.
 */
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { arch, release } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { NetnsInventory } from '../host/netns/inventory.ts';
import { hostRoot, ProcRoot } from '../host/proc-root.ts';
import { systemClock } from '../pipeline/clock.ts';
import { testContext } from '../pipeline/testing.ts';
import { Collection } from '../receivers/procfs/collection.ts';
import { config } from '../receivers/procfs/config.ts';
import { metrics } from '../receivers/procfs/metrics.ts';
import { Slices } from '../receivers/procfs/slices.ts';
import { Redactor } from './capture/redact.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pids: { type: 'string' } } });
const name = positionals[0];
if (name === undefined || !/^[a-z0-9][a-z0-9.-]*$/.test(name)) {
  console.error('Usage: node tools/capture-host.ts NAME [--pids PID,…]; NAME is <distro>-<kernel>-<trait>.');
  process.exit(2);
}
const target = join(import.meta.dirname, '../test/hosts', name);
if (existsSync(target)) {
  console.error(`${target} exists already.`);
  process.exit(2);
}
const redactor = new Redactor();

/** Writes down what is read, below `target`. */
class CapturingRoot extends ProcRoot {
  readonly #pids: ReadonlySet<string>;
  constructor(pids: ReadonlySet<string>) {
    super();
    this.#pids = pids;
  }
  override read(path: string): Buffer {
    const content = super.read(path);
    this.#file(path, redactor.content(path, content));
    return content;
  }
  override list(path: string): string[] {
    return this.#keep(path, super.list(path));
  }
  override async listAsync(path: string): Promise<string[]> {
    return this.#keep(path, await super.listAsync(path));
  }
  override readlink(path: string): string | undefined {
    const link = super.readlink(path);
    if (link !== undefined) this.#link(path, redactor.link(link));
    return link;
  }
  override statInode(path: string): number | undefined {
    const inode = super.statInode(path);
    if (inode !== undefined && path.endsWith('/cgroup.controllers')) this.read(path);
    return inode;
  }
  #keep(path: string, names: string[]): string[] {
    if (path === this.procPath) return names.filter((n) => !/^\d+$/.test(n) || this.#pids.has(n));
    mkdirSync(this.#at(path), { recursive: true });
    return names;
  }
  #file(path: string, content: Buffer): void {
    mkdirSync(dirname(this.#at(path)), { recursive: true });
    writeFileSync(this.#at(path), content);
  }
  #link(path: string, link: string): void {
    const at = this.#at(path);
    if (existsSync(at)) return;
    mkdirSync(dirname(at), { recursive: true });
    rmSync(at, { force: true });
    symlinkSync(link, at);
  }
  #at(path: string): string {
    return join(target, redactor.path(path));
  }
}

/** Processes worth keeping. */
function chosenPids(): Set<string> {
  if (values.pids !== undefined) return new Set(values.pids.split(','));
  const inventory = new NetnsInventory(hostRoot, systemClock);
  const found = inventory.scan();
  const pids = new Set(found.flatMap((n) => (n.pid === undefined ? [] : [String(n.pid)])));
  for (const processes of inventory.podProcesses().values()) for (const p of processes) pids.add(String(p.pid));
  return pids;
}

function distribution(): string {
  const text = hostRoot.tryReadText('/etc/os-release') ?? '';
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? 'unknown';
}

const root = new CapturingRoot(chosenPids());
const everything = Object.fromEntries(metrics.map((m) => [m.name, { enabled: true }]));
const context = { ...testContext({ id: 'procfs' }), clock: systemClock };
const collection = new Collection(config.parse({ metrics: everything }), context, root);
let batches = 0;
await collection.round(new Slices(), () => batches++);
const manifest = [
  `kernel: ${JSON.stringify(release())}`,
  `distro: ${JSON.stringify(distribution())}`,
  `arch: ${arch()}`,
  `date: ${new Date().toISOString().slice(0, 10)}`,
  `command: node tools/capture-host.ts ${process.argv.slice(2).join(' ')}`,
  'edits: []',
  'redactions:',
  ...redactor.rules.map((r) => `  - ${JSON.stringify(r)}`),
];
writeFileSync(join(target, 'MANIFEST.yaml'), `${manifest.join('\n')}\n`);
console.log(`Wrote ${target} from a collection of ${batches} batches. Look through it before you commit it.`);
