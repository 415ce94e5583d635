import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Lane } from './lanes.ts';
import { prepareLane } from './prepare.ts';
import { failuresText, table, totals } from './report.ts';
import { runLane } from './run-lane.ts';

const root = resolve(import.meta.dirname, '../..');
const head = "import { test } from 'node:test';\nimport assert from 'node:assert/strict';\n";

describe('a lane', () => {
  let work: string;
  let here: string;
  before(() => {
    here = process.cwd();
    process.chdir(root);
    mkdirSync('.output', { recursive: true });
    work = mkdtempSync(`${root}/.output/lane-`);
  });
  after(() => {
    process.chdir(here);
    rmSync(work, { recursive: true, force: true });
    rmSync(`.output/test/self-${process.pid}.log`, { force: true });
  });

  const lane = (file: string, body: string, more: Partial<Lane> = {}): Lane => {
    mkdirSync(`${work}/${file}`);
    writeFileSync(`${work}/${file}/x.test.ts`, head + body);
    return {
      name: `self-${process.pid}`,
      files: [`${relative(root, work)}/${file}/*.test.ts`],
      concurrency: 1,
      testTimeoutS: 30,
      timeoutS: 60,
      missing: () => undefined,
      phase: 1,
      track: 'a',
      ...more,
    };
  };
  const run = (l: Lane) => runLane(l, [], new AbortController().signal);

  test('counts what passed, failed and was skipped, and keeps what was said', async () => {
    const body = [
      "test('good', () => {});",
      "test('group', async (t) => { await t.test('inner', () => {}); await t.test('bad', () => assert.equal(1, 2)); });",
      "test('not here', { skip: 'no such device' }, () => {});",
    ].join('\n');
    const result = await run(lane('counts', body));
    assert.deepEqual([result.passed, result.failed, result.skipped], [2, 1, 1]);
    assert.deepEqual(
      result.failures.map((f) => f.name),
      ['bad'],
    );
    assert.match(result.failures[0]?.detail ?? '', /1 !== 2/);
    assert.deepEqual(result.whyNot, ['no such device']);
    assert.match(failuresText([result]), /^FAILED self-\d+: bad \(\.output\/lane-\w+\/counts\/x\.test\.ts\)$/m);
    assert.equal(totals([result, result]).line, '4 passed, 2 failed');
    assert.match(table([result]), /^self-\d+ +\| +2 \| +1 \| +1 \| +[\d.]+ \| no such device$/m);
  });

  test('what it needs is made before its clock starts; what cannot be made is left to its tests', async () => {
    const never = new AbortController().signal;
    const made = `${work}/made`;
    const prepared = lane('prepared', `test('ok', () => {});`, {
      prepare: [['false'], ['no-such-program-of-skoopline'], ['sh', '-c', `echo made > ${made}`]],
    });
    await prepareLane(prepared, never);
    assert.equal(readFileSync(made, 'utf8'), 'made\n');
    rmSync(made);
    await prepareLane({ ...prepared, missing: () => 'not here' }, never);
    assert.equal(existsSync(made), false);
    rmSync(`.output/test/${prepared.name}.prepare.log`);
  });

  test('a file that does not load is a failure', async () => {
    const result = await run(lane('broken', "import './nowhere.ts';\n"));
    assert.deepEqual([result.passed, result.failed], [0, 1]);
  });

  test('a file whose process dies is a failure, whatever passed before', async () => {
    const result = await run(
      lane('dies', "test('good', () => {});\ntest('dies', () => process.kill(process.pid, 'SIGKILL'));\n"),
    );
    assert.equal(result.failed, 1);
  });

  test('a test that never ends is a failure by its own limit, and its file is ended though it left something open', async () => {
    const body = "test('good', () => {});\ntest('hangs', () => new Promise(() => { setInterval(() => {}, 1000); }));\n";
    const result = await run(lane('hangs', body, { testTimeoutS: 2 }));
    assert.equal(result.passed, 1);
    assert.deepEqual(
      result.failures.map((f) => f.name.replace(/.*\//, '')),
      ['hangs', 'x.test.ts'],
    );
    assert.match(result.failures[1]?.detail ?? '', /said nothing for 4\.5 s/);
  });

  test('a file with more results than a pipe holds loses none of them', async () => {
    const body = "for (let i = 0; i < 1009; i++) test('test number ' + i + ' with a name of some length', () => {});\n";
    assert.equal((await run(lane('many', body))).passed, 1009);
  });

  test('a file without a test is a failure', async () => {
    assert.equal((await run(lane('empty', ''))).failed, 1);
  });

  test('a lane that takes too long is ended, and its limit is the failure', async () => {
    const body = "test('hangs', () => new Promise(() => { setInterval(() => {}, 1000); }));\n";
    const result = await run(lane('slow', body, { timeoutS: 2 }));
    assert.match(result.failures.map((f) => f.detail).join(), /took longer than 2 s/);
  });

  test('a lane that cannot run says why and is no failure', async () => {
    const result = await run(lane('missing', '', { missing: () => 'needs a moon' }));
    assert.deepEqual([result.passed, result.failed, result.whyNot], [0, 0, ['needs a moon']]);
  });
});
