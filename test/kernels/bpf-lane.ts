import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { test } from 'node:test';
import type { LaneResult } from '../../tools/test/run-lane.ts';
import { debianKernel } from './kernel.ts';
import { runInKernel } from './vm.ts';

const repository = resolve(import.meta.dirname, '../..');

/**
 * A regular expression for the first test of each probe's file: the one that makes the thing happen and counts it. The whole lane
 * takes half an hour under emulation; `SKOOPLINE_FULL=1 make test-kernels` runs that.
 */
export function firstTests(): string {
  const starts = globSync('test/bpf/*.test.ts', { cwd: repository })
    .filter((file) => {
      const name = basename(file, '.test.ts');
      // And the one that loads every object and says which hook serves it here.
      return name === 'hooks' || existsSync(join(repository, `bpf/${name}.bpf.c`));
    })
    .map((file) => /\btest\(\s*(['"`])(.+?)(?:\1|\$\{)/.exec(readFileSync(join(repository, file), 'utf8'))?.[2])
    .filter((name) => name !== undefined);
  return starts.map((name) => `^${name.replace(/\\(.)/g, '$1').replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`).join('|');
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Declares the test that runs the lane `bpf` on another kernel: each of its tests becomes a subtest, with what it said there. */
export function bpfLaneOn(series: string): void {
  test(`lane bpf on Debian's kernel ${series}`, async (t) => {
    const kernel = await debianKernel(series).catch((error: Error) => error);
    if (kernel instanceof Error) return t.skip(kernel.message);
    const some = process.env['SKOOPLINE_FULL'] ? '' : `--name ${quoted(firstTests())}`;
    // What an earlier run on this machine left in .output is seen by the guest: it must not be taken for the guest's.
    const command = `rm -rf .output/test; node tools/test.ts bpf ${some}; cp .output/test/results.json .output/test/bpf.log /out/`;
    const options = { timeoutS: process.env['SKOOPLINE_FULL'] ? 3600 : 600, memoryMiB: 3072, cpus: 1 };
    const { log, out } = await runInKernel(kernel, command, options);
    const [lane] = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as LaneResult[];
    assert.ok(lane && lane.outcomes.length > 0, `The lane did not run: ${lane?.whyNot.join('; ')}\n${log}`);
    for (const { name, file, status, detail } of lane.outcomes) {
      await t.test(`${name} (${series})`, (inner) => {
        if (status === 'skipped') return inner.skip(`${series}: ${detail ?? 'no reason given'}`);
        if (status === 'failed') assert.fail(`On ${kernel.release}, ${file}: ${detail}`);
      });
    }
    return undefined;
  });
}
