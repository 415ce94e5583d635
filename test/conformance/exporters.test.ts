import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { testContext } from '../../pipeline/testing.ts';
import { exporters, testConfig } from './components-under-test.ts';
import { handles, settledHandles } from './handles.ts';
import { copyOf, sampleBatches } from './samples.ts';

/** What is true of every exporter. */

const never = () => new AbortController().signal;

/** Standard output is the test runner's: what an exporter writes there goes nowhere, and is taken at once. */
function muted() {
  return mock.method(process.stdout, 'write', (...args: unknown[]) => {
    const done = args.at(-1);
    if (typeof done === 'function') process.nextTick(done);
    return true;
  });
}

for (const { name, folder, declaration: d } of exporters) {
  const make = () => {
    const directory = mkdtempSync(join(tmpdir(), 'skl-conformance-'));
    const exporter = d.create(d.config.parse(testConfig(name, directory)), testContext({ id: name }));
    return { exporter, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
  };

  test(`${folder}: stop before start, and twice`, async () => {
    using one = make();
    await one.exporter.stop?.(never());
    await one.exporter.stop?.(never());
    using two = make();
    await two.exporter.start?.();
    await two.exporter.stop?.(never());
    await two.exporter.stop?.(AbortSignal.abort());
  });

  test(`${folder}: started, given data and stopped, it leaves nothing behind and has changed nothing`, async () => {
    const write = muted();
    try {
      const round = async () => {
        using one = make();
        await one.exporter.start?.();
        const batches = sampleBatches().filter((b) => d.signals.includes(b.kind));
        const before = copyOf(batches);
        for (const batch of batches) {
          // Nobody listens where the test config sends: a refusal is an answer too, an exception other than by rejection is not.
          await one.exporter.push(batch, AbortSignal.timeout(5000)).catch(() => {});
        }
        assert.deepEqual(copyOf(batches), before);
        await one.exporter.stop?.(never());
      };
      await round();
      const open = handles();
      await round();
      await round();
      assert.deepEqual(await settledHandles(open), []);
    } finally {
      write.mock.restore();
    }
  });

  test(`${folder}: a push that is told to give up does`, async () => {
    const write = muted();
    try {
      using one = make();
      await one.exporter.start?.();
      for (const batch of sampleBatches().filter((b) => d.signals.includes(b.kind))) {
        await one.exporter.push(batch, AbortSignal.abort()).catch(() => {});
      }
      await one.exporter.stop?.(AbortSignal.abort());
    } finally {
      write.mock.restore();
    }
  });
}
