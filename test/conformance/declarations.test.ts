import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { components } from '../../components.ts';
import type { ComponentDeclaration } from '../../pipeline/component.ts';
import { configKeys } from '../../pipeline/config/keys.ts';
import { problemText, readConfig } from '../../pipeline/config.ts';
import { testContext } from '../../pipeline/testing.ts';
import { all, foldersOf, root, testConfig } from './components-under-test.ts';
import { ioOf } from './handles.ts';

/** What is true of every component's declaration and folder. */

const directory = mkdtempSync(join(tmpdir(), 'skl-conformance-'));
after(() => rmSync(directory, { recursive: true }));

for (const section of ['receivers', 'processors', 'exporters'] as const) {
  test(`every folder of ${section} with an index.ts is listed`, () => {
    assert.deepEqual(Object.keys(components[section]).sort(), foldersOf(section).sort());
  });
}

function create(declaration: ComponentDeclaration, config: unknown): void {
  const context = testContext({ id: declaration.type });
  (declaration.create as (config: unknown, context: unknown) => unknown)(config, context);
}

for (const { name, folder, files, declaration: d } of all) {
  test(`${folder}: has the set of files`, () => {
    const wanted = ['README.md', 'config.ts', 'index.ts', `${d.kind}.ts`];
    if ((d.metrics?.length ?? 0) + (d.events?.length ?? 0) > 0) wanted.push('metrics.ts');
    assert.deepEqual(
      wanted.filter((f) => !files.includes(f)),
      [],
    );
    assert.ok(
      files.some((f) => f.endsWith('.test.ts')),
      'no test beside it',
    );
  });

  test(`${folder}: its type is its folder, its summary one sentence`, () => {
    assert.equal(d.type, name);
    assert.equal(`${d.kind}s`, folder.split('/')[0]);
    assert.match(d.summary, /^[A-Z].*[.?]$/);
    assert.match(name, /^[a-z][a-z0-9_]*$/);
  });

  test(`${folder}: an empty section gives the defaults, and lacks only what has none`, () => {
    const parsed = d.config.safeParse({});
    const issues = parsed.success ? [] : parsed.error.issues;
    for (const issue of issues) assert.ok(issue.path.length > 0, `${issue.message}`);
    const needed = new Set(issues.map((i) => String(i.path[0])));
    for (const key of needed) assert.ok(key in testConfig(name, directory), `${key} has no default`);
    if (parsed.success) assert.deepEqual(d.check?.(parsed.data) ?? [], [], 'the defaults break its own rules');
  });

  test(`${folder}: every key is described`, () => {
    const keys = configKeys(d.config);
    for (const { path, description } of keys) {
      const isSection = keys.some((k) => k.path.startsWith(`${path}.`) || k.path.startsWith(`${path}[`));
      if (!isSection) assert.match(description, /\S/, path);
      assert.match(path, /^[a-z*][a-z0-9_.*[\]]*$/, path);
    }
  });

  test(`${folder}: a typo is named`, async () => {
    const [key] = configKeys(d.config);
    const typo = key ? `${key.path.split('.')[0]}x` : 'nothing';
    const section = { ...testConfig(name, directory), [typo]: 1 };
    const text = JSON.stringify({ [`${d.kind}s`]: { [name]: section } });
    const result = await readConfig(text, { file: 'f.yaml', registry: components, env: {} });
    const lines = result.problems.map(problemText);
    const hint = key ? ` (did you mean "${typo.slice(0, -1)}"?)` : '';
    assert.ok(
      lines.some((l) => l.endsWith(`${d.kind}s.${name}.${typo}: unknown key${hint}`)),
      lines.join('\n'),
    );
  });

  test(`${folder}: making one does no I/O`, () => {
    const config = d.config.parse(testConfig(name, directory));
    create(d, config);
    assert.deepEqual(
      ioOf(() => create(d, config)),
      [],
    );
  });

  test(`${folder}: what it declares is sound`, () => {
    const metrics = d.metrics ?? [];
    const names = metrics.map((m) => m.name);
    assert.deepEqual(names, [...new Set(names)], 'a metric is declared twice');
    for (const m of metrics) {
      assert.match(m.name, /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/, m.name);
      assert.match(m.description, /^[A-Z0-9].*\.$/s, `${m.name}: ${m.description}`);
      assert.ok(m.unit.length > 0 && m.source.length > 0, m.name);
      assert.ok(!/(?:_total|_seconds|_bytes)$|\.total$/.test(m.name), `${m.name}: unit or total in the name`);
      assert.ok(m.maxSeries >= 1, m.name);
      assert.equal(m.instrument === 'histogram', m.histogram !== undefined, m.name);
      for (const [key, a] of Object.entries(m.attributes)) assert.match(a.description, /\S/, `${m.name} ${key}`);
    }
    for (const e of d.events ?? []) {
      assert.match(e.name, /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/);
      assert.match(e.description, /\S/);
    }
  });

  test(`${folder}: its README has the generated tables in their place`, () => {
    const text = readFileSync(join(root, folder, 'README.md'), 'utf8');
    const tables = ['config', ...(d.metrics?.length ? ['metrics'] : []), ...(d.events?.length ? ['events'] : [])];
    for (const table of tables) {
      assert.ok(text.includes(`<!-- generated:${table} -->`), table);
      assert.ok(text.includes(`<!-- /generated:${table} -->`), table);
    }
  });
}

test('no two components declare one metric or event differently', () => {
  const seen = new Map<string, { by: string; text: string }>();
  for (const { folder, declaration: d } of all) {
    for (const m of d.metrics ?? []) {
      const text = JSON.stringify([m.instrument, m.unit]);
      const before = seen.get(m.name);
      assert.ok(!before || before.text === text, `${m.name}: ${before?.by} and ${folder}`);
      seen.set(m.name, { by: folder, text });
    }
  }
});

test('the watch on I/O works', () => {
  assert.ok(ioOf(() => void readFileSync('/dev/null')).includes('fs.readFileSync'));
  assert.ok(ioOf(() => clearTimeout(setTimeout(() => {}, 1))).includes('Timeout'));
  assert.deepEqual(
    ioOf(() => {}),
    [],
  );
});
