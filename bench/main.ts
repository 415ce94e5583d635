/**
 * `make bench`: all benches, one after the other so that none disturbs another, in under a quarter of an hour; `make bench BENCH="scrape idle"` runs some.
 *
 * What each prints is kept in .output/bench/NAME.json with the load of the machine at the time; .output/bench/summary.md holds the figures that have an aim
 * beside their aims, and all output. `node bench/main.ts --write-docs` makes docs/overhead.md of what is there.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { type Bench, benches, type Figure, type Need } from './aims.ts';
import { overhead, summary } from './overhead.ts';

process.chdir(`${import.meta.dirname}/..`);
const output = '.output/bench';

/** What one run left. */
export interface Result {
  readonly name: string;
  readonly command: string;
  readonly at: string;
  readonly machine: string;
  readonly load: readonly [before: number, after: number];
  readonly seconds: number;
  readonly text: string;
  /** Why it did not run, or how it ended. */
  readonly trouble?: string;
  readonly figures: readonly Figure[];
}

const has = (program: string) => spawnSync('which', [program], { stdio: 'ignore' }).status === 0;
const checks: Readonly<Record<Need, () => string | undefined>> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'it needs root'),
  gcc: () => (has('gcc') ? undefined : 'it needs gcc'),
  containerd: () => (has('containerd') ? undefined : 'it needs containerd'),
  bpf: () =>
    existsSync('/sys/kernel/btf/vmlinux') && globSync('.output/bpf/*.bpf.o').length > 0
      ? undefined
      : 'it needs BTF and the BPF objects (make bpf)',
};

async function runBench(bench: Bench): Promise<Omit<Result, 'figures'>> {
  const { name, args = [], limitSeconds } = bench;
  const flags = ['--disable-warning=ExperimentalWarning', '--expose-gc', `bench/${name}.ts`, ...args];
  const command = ['node', `bench/${name}.ts`, ...args].join(' ');
  const machine = `${availableParallelism()} × ${cpus()[0]?.model.trim()}, Linux ${release()}, Node.js ${process.version}`;
  const head = { name, command, at: new Date().toISOString(), machine };
  const missing = bench.needs.map((need) => checks[need]()).filter((why) => why !== undefined);
  const before = loadavg()[0]!;
  if (missing.length > 0) {
    const trouble = `left out: ${missing.join(', ')}`;
    return { ...head, load: [before, before], seconds: 0, text: '', trouble };
  }
  const began = performance.now();
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
    process.stdout.write(more);
  });
  const timer = setTimeout(() => child.kill('SIGTERM'), limitSeconds * 1000);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...ended) => resolve(ended)),
  );
  clearTimeout(timer);
  const trouble = signal ? `cut off after ${limitSeconds} s` : code === 0 ? undefined : `ended with ${code}`;
  const seconds = (performance.now() - began) / 1000;
  return { ...head, load: [before, loadavg()[0]!], seconds, text, ...(trouble !== undefined && { trouble }) };
}

function kept(): Result[] {
  const files = benches.map(({ name }) => `${output}/${name}.json`).filter((file) => existsSync(file));
  return files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Result);
}

/** @returns whether all went well. */
async function runAll(chosen: readonly Bench[]): Promise<boolean> {
  const results: Result[] = [];
  for (const bench of chosen) {
    console.log(`\n## ${bench.name}\n`);
    const result = await runBench(bench);
    if (result.trouble) console.log(`${bench.name}: ${result.trouble}`);
    const figures = result.trouble?.startsWith('left out') ? [] : bench.aims.map((aim) => aim.look(result.text));
    results.push({ ...result, figures });
    writeFileSync(`${output}/${bench.name}.json`, `${JSON.stringify(results.at(-1), null, 2)}\n`);
  }
  const text = summary(results);
  writeFileSync(`${output}/summary.md`, text);
  console.log(`\n${text.slice(0, text.indexOf('\n## '))}\nAll output is in ${output}.`);
  return results.every((r) => r.trouble === undefined || r.trouble.startsWith('left out'));
}

const chosen = process.argv.slice(2);
mkdirSync(output, { recursive: true });
if (chosen[0] === '--write-docs') {
  writeFileSync('docs/overhead.md', overhead(kept()));
} else {
  const unknown = chosen.filter((name) => !benches.some((b) => b.name === name));
  if (unknown.length > 0) {
    console.error(`No bench named ${unknown.join(', ')}; there are ${benches.map((b) => b.name).join(', ')}.`);
    process.exit(2);
  }
  const list = chosen.length > 0 ? benches.filter((b) => chosen.includes(b.name)) : benches;
  process.exitCode = (await runAll(list)) ? 0 : 1;
}
