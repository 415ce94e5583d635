import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { LaneResult } from '../../tools/test/run-lane.ts';
import { debianKernel } from './kernel.ts';
import { runInKernel } from './vm.ts';

/** Declares the test that runs the lane `bpf` on another kernel: each of its tests becomes a subtest, with what it said there. */
export function bpfLaneOn(series: string): void {
  test(`lane bpf on Debian's kernel ${series}`, async (t) => {
    const kernel = await debianKernel(series).catch((error: Error) => error);
    if (kernel instanceof Error) return t.skip(kernel.message);
    const command = 'node tools/test.ts bpf; cp .output/test/results.json .output/test/bpf.* /out/';
    const { log, out } = await runInKernel(kernel, command, { timeoutS: 600, memoryMiB: 3072, cpus: 1 });
    const [lane] = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as LaneResult[];
    assert.ok(lane && lane.outcomes.length > 0, `The lane did not run: ${lane?.whyNot.join('; ')}\n${log}`);
    for (const { name, file, status, detail } of lane.outcomes) {
      await t.test(`${name} (${series})`, (inner) => {
        if (status === 'skipped') return inner.skip(`${series}: ${detail ?? 'no reason given'}`);
        if (status === 'failed') assert.fail(`On ${kernel.release}, ${file}: ${detail}`);
      });
    }
    // The lane may have failed as a whole: a crash, a timeout.
    const whole = lane.failures.filter((f) => !lane.outcomes.some((o) => o.name === f.name));
    assert.deepEqual(
      whole.map((f) => f.detail),
      [],
    );
    return undefined;
  });
}
