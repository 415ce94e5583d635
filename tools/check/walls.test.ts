import assert from 'node:assert/strict';
import { test } from 'node:test';
import { breachesOf, importsOf, missingFiles, withoutComments } from './walls.ts';

const refused = (file: string, source: string) => breachesOf(file, source).map((b) => `${b.line}: ${b.message}`);

test('imports are found in all their forms and never in comments', () => {
  const source = [
    "import a from './a.ts';",
    "import type { B } from './b.ts';",
    'import {',
    '  c,',
    "} from './c.ts';",
    "// import d from './d.ts';",
    "/* import e from './e.ts'; */",
    "export * from './f.ts';",
    "const g = () => import('./g.ts');",
    "import './h.ts';",
    "const text = 'no import here';",
  ].join('\n');
  assert.deepEqual(importsOf(withoutComments(source)), [
    { specifier: './a.ts', line: 1 },
    { specifier: './b.ts', line: 2 },
    { specifier: './c.ts', line: 5 },
    { specifier: './f.ts', line: 8 },
    { specifier: './g.ts', line: 9 },
    { specifier: './h.ts', line: 10 },
  ]);
});

test('each wall refuses what it stands against and lets through what the table allows', () => {
  const cases: readonly [file: string, specifier: string, allowed: boolean][] = [
    ['pipeline/a.ts', './b.ts', true],
    ['pipeline/a.ts', '../host/b.ts', false],
    ['pipeline/a.ts', 'koffi', false],
    ['pipeline/queue/a.ts', '../batch.ts', true],
    ['view/a.ts', '../pipeline/batch.ts', true],
    ['view/a.ts', '../receivers/x/metrics.ts', false],
    ['view/a.ts', 'rxjs', false],
    ['pipeline/a.ts', '../view/b.ts', false],
    ['receivers/x/a.ts', '../../view/b.ts', false],
    ['processors/x/a.ts', '../../view/b.ts', false],
    ['exporters/x/a.ts', '../../view/b.ts', true],
    ['cli/a.ts', '../view/b.ts', true],
    ['host/a.ts', '../pipeline/errors.ts', true],
    ['host/a.ts', '../pipeline/batch.ts', false],
    ['host/a.ts', 'koffi', true],
    ['host/a.ts', 'rxjs', false],
    ['bpf/loader.ts', '../host/ffi.ts', true],
    ['bpf/loader.ts', '../receivers/ebpf/index.ts', false],
    ['receivers/x/a.ts', '../../host/a.ts', true],
    ['receivers/x/a.ts', '../../bpf/loader.ts', true],
    ['receivers/x/a.ts', '../y/a.ts', false],
    ['receivers/x/a.ts', '../../exporters/y/index.ts', false],
    ['receivers/x/a.ts', 'koffi', false],
    ['receivers/x/a.ts', '../../tools/y.ts', false],
    ['receivers/x/a.test.ts', '../../tools/y.ts', true],
    ['processors/x/a.ts', '../../host/symbols.ts', true],
    ['processors/x/a.ts', '../../host/netns.ts', false],
    ['exporters/x/a.ts', '../y/a.ts', false],
    ['exporters/x/a.ts', '../../bpf/loader.ts', false],
    ['components.ts', './receivers/x/index.ts', true],
    ['components.ts', './receivers/x/config.ts', false],
    ['cli/main.ts', '../components.ts', true],
    ['cli/main.ts', '../receivers/x/index.ts', false],
    ['test/bed/a.ts', '../../receivers/x/a.ts', true],
  ];
  for (const [file, specifier, allowed] of cases) {
    assert.equal(
      refused(file, `import x from '${specifier}';\n`).length === 0,
      allowed,
      `${file} imports ${specifier}`,
    );
  }
});

test('a breach names its line and why the wall is there', () => {
  assert.deepEqual(refused('receivers/x/a.ts', "// why\nimport y from '../y/b.ts';\n"), [
    '2: receivers/x may not import receivers/y/b.ts: a component can be removed by deleting its folder; what two of them share ' +
      'belongs in pipeline/ or host/',
  ]);
});

test('/proc is read through the proc root only, but may be named in prose and in catalogues', () => {
  const reading = "import { readFileSync } from 'node:fs';\nreadFileSync('/proc/net/snmp');\n";
  assert.equal(refused('receivers/x/a.ts', reading).length, 1);
  assert.equal(refused('host/a.ts', reading).length, 0);
  assert.equal(refused('receivers/x/a.test.ts', reading).length, 0);
  assert.equal(refused('receivers/x/metrics.ts', "export const source = '/proc/<pid>/net/snmp';\n").length, 0);
  assert.equal(refused('receivers/x/a.ts', "import 'node:fs';\n// reads '/proc/net/snmp'\n").length, 0);
});

test('an operator that buffers without bound needs a stated bound', () => {
  const source = "import { mergeMap } from 'rxjs';\nexport const f = mergeMap(() => []);\n";
  assert.equal(refused('receivers/x/a.ts', source).length, 1);
  assert.equal(refused('receivers/x/a.ts', "Map.groupBy([], f);\nimport { map } from 'rxjs';\n").length, 0);
  assert.equal(refused('receivers/x/a.ts', `// bounded: one per interval.\n${source}`).length, 0);
});

test('only cli/ ends the process', () => {
  assert.equal(refused('exporters/x/a.ts', 'process.exit(1);\n').length, 1);
  assert.equal(refused('cli/a.ts', 'process.exit(1);\n').length, 0);
});

test('files that hold more than one thing are refused', () => {
  assert.equal(refused('pipeline/helpers.ts', '').length, 1);
  assert.equal(refused('pipeline/a.ts', '\n'.repeat(400)).length, 0);
  assert.equal(refused('pipeline/a.ts', '\n'.repeat(401)).length, 1);
});

test('a component without its README is named', () => {
  assert.deepEqual(
    missingFiles(['receivers/x/index.ts', 'receivers/x/config.ts', 'receivers/README.md']).map((b) => b.file),
    ['receivers/x/README.md'],
  );
});
