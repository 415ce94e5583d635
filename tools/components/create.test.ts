import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { breachesOf, missingFiles } from '../check/walls.ts';
import { componentKinds, createComponent, withEntry } from './create.ts';

const list = [
  'export const components = {',
  '  receivers: {',
  "    cri: () => import('./receivers/cri/index.ts'),",
  "    procfs: () => import('./receivers/procfs/index.ts'),",
  '  },',
  '  processors: {',
  '  },',
  '  exporters: {',
  '  },',
  '};',
  '',
].join('\n');

test('a new entry stands in alphabetical order within its kind', () => {
  const keys = (text: string) =>
    [...text.matchAll(/(\w+): \(\) => import\('\.\/(\w+)\//g)].map((m) => `${m[2]}/${m[1]}`);
  assert.deepEqual(keys(withEntry(list, 'receiver', 'ebpf')), ['receivers/cri', 'receivers/ebpf', 'receivers/procfs']);
  assert.deepEqual(keys(withEntry(list, 'receiver', 'zz')), ['receivers/cri', 'receivers/procfs', 'receivers/zz']);
  assert.deepEqual(keys(withEntry(list, 'exporter', 'a')), ['receivers/cri', 'receivers/procfs', 'exporters/a']);
  assert.throws(() => withEntry('', 'receiver', 'x'), /no line 'receivers: \{'/);
});

test('a component made from a template compiles, passes its tests, is formatted and stands within the walls', (t) => {
  const root = resolve(import.meta.dirname, '../..');
  mkdirSync(join(root, '.output'), { recursive: true });
  const work = mkdtempSync(join(root, '.output/new-component-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  for (const shared of ['pipeline', 'host', 'node_modules', 'package.json', 'tsconfig.json', 'biome.json']) {
    symlinkSync(join(root, shared), join(work, shared));
  }
  writeFileSync(join(work, 'components.ts'), list.replace(/^ {4}.*\n/gm, ''));
  for (const kind of componentKinds) createComponent(work, kind, 'two_words');

  const files = componentKinds.flatMap((k) =>
    readdirSync(join(work, `${k}s/two_words`)).map((f) => `${k}s/two_words/${f}`),
  );
  const sources = files.filter((f) => f.endsWith('.ts'));
  assert.deepEqual(
    sources.flatMap((f) => breachesOf(f, readFileSync(join(work, f), 'utf8'))),
    [],
  );
  assert.deepEqual(missingFiles(files), []);

  const only = JSON.stringify({ extends: './tsconfig.json', include: ['components.ts', ...sources] });
  writeFileSync(join(work, 'tsconfig.only.json'), only);
  const run = (...argv: string[]) =>
    execFileSync(argv[0]!, argv.slice(1), { cwd: work, stdio: 'pipe', encoding: 'utf8', env });
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  run('node_modules/.bin/tsc', '-p', 'tsconfig.only.json');
  run('node_modules/.bin/biome', 'check', '--error-on-warnings', ...sources);
  const flags = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=tap'];
  const tests = sources.filter((f) => f.endsWith('.test.ts'));
  assert.match(run(process.execPath, ...flags, ...tests), /^# pass 7$[\s\S]*^# fail 0$/m);
});

test('a name that cannot stand in pipeline.yaml and a folder that exists are refused', () => {
  for (const name of ['', 'TcpInfo', 'tcp-info', '../x', '_x']) {
    assert.throws(() => createComponent('/nonexistent', 'receiver', name), /no name for a component/);
  }
  assert.throws(() => createComponent(resolve(import.meta.dirname, '../..'), 'receiver', 'cri'), /exists already/);
});
