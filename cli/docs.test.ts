import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { components } from '../components.ts';
import { problemText, readConfig } from '../pipeline/config.ts';

const root = join(import.meta.dirname, '..');

/** Fenced YAML of a page that is a whole pipeline. */
function pipelinesIn(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^```yaml\n(.*?)^```/gms)].map((m) => m[1]!).filter((yaml) => /^service:/m.test(yaml));
}

test('every pipeline shown in the documentation is one that runs', async () => {
  const pages = globSync('{*.md,docs/**/*.md,{receivers,processors,exporters}/*/README.md}', { cwd: root });
  let shown = 0;
  for (const page of pages) {
    for (const yaml of pipelinesIn(page)) {
      shown++;
      const result = await readConfig(yaml, { file: page, registry: components, env: {} });
      assert.deepEqual(result.problems.map(problemText), [], `${page}:\n${yaml}`);
    }
  }
  assert.ok(shown > 0);
});

test('the default pipeline has no mistake and no warning', async () => {
  const text = readFileSync(join(root, 'pipeline.yaml'), 'utf8');
  const result = await readConfig(text, { file: 'pipeline.yaml', registry: components, env: {}, strict: true });
  assert.deepEqual(result.problems.map(problemText), []);
});
