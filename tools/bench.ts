/**
 * `make bench`: runs every bench, one after the other, so that none disturbs another; `BENCH="scrape ring" make bench` runs some.
 * What they print is kept in .output/bench/<name>.txt.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, globSync, mkdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

process.chdir(`${import.meta.dirname}/..`);
const output = '.output/bench';

/** A bench says in its head comment how to run it; contenders and shared parts do not stand alone. */
function standsAlone(file: string): boolean {
  const head = /^\/\*\*([\s\S]*?)\*\//.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  return head.includes(`node ${file}`) && !/contender/.test(basename(file));
}

const all = globSync('bench/*.ts')
  .filter(standsAlone)
  .map((file) => basename(file, '.ts'))
  .sort();
const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !all.includes(name));
if (unknown.length) {
  console.error(`No bench named ${unknown.join(', ')}; there are ${all.join(', ')}.`);
  process.exit(2);
}

async function run(name: string): Promise<boolean> {
  console.log(`\n## ${name}\n`);
  const flags = ['--disable-warning=ExperimentalWarning', '--expose-gc', `bench/${name}.ts`];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.pipe(createWriteStream(`${output}/${name}.txt`));
  child.stdout.pipe(process.stdout, { end: false });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) console.log(`\n${name} ended with ${code}.`);
  return code === 0;
}

mkdirSync(output, { recursive: true });
const failed: string[] = [];
for (const name of chosen.length ? chosen : all) if (!(await run(name))) failed.push(name);
console.log(failed.length ? `\nFailed: ${failed.join(', ')}.` : `\nAll figures are in ${output}.`);
process.exitCode = failed.length ? 1 : 0;
