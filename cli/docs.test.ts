import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { components } from '../components.ts';
import { problemText, readConfig } from '../pipeline/config.ts';
import { ruleFiles } from '../tools/dashboards/alerts.ts';
import { allowedNames } from '../tools/dashboards/names.ts';
import { commands } from './commands.ts';

const root = join(import.meta.dirname, '..');

const pages = globSync('{*.md,docs/**/*.md,{receivers,processors,exporters}/*/README.md}', { cwd: root });
/** Pages that people follow: all but generated tables, decisions and the log of changes. */
const guides = pages.filter((p) => !/^docs\/(reference|adr)\/|^CHANGELOG/.test(p));

/** Lines of commands and of text in backticks: where a page shows something to type. */
function typed(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const blocks = [...text.matchAll(/^```(?:sh|console|bash|)\n(.*?)^```/gms)].flatMap((m) => m[1]!.split('\n'));
  return [...blocks, ...Array.from(text.matchAll(/`([^`\n]+)`/g), (m) => m[1]!)];
}

/** Fenced YAML of a page that is a whole pipeline. */
function pipelinesIn(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/^```yaml\n(.*?)^```/gms)].map((m) => m[1]!).filter((yaml) => /^service:/m.test(yaml));
}

test('every pipeline shown in the documentation is one that runs', async () => {
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

test('every skoopline command shown in the documentation exists, with its options', async () => {
  let shown = 0;
  for (const page of guides) {
    for (const line of typed(page)) {
      const [, name, rest] = /(?:^|[\s(])skoopline ([a-z][a-z-]+)\b([^|>#]*)/.exec(line) ?? [];
      // What Helm and kubectl call so, too, and names in a chart.
      if (name === undefined || /helm|kubectl [a-z]+ skoopline/.test(line) || /^skoopline \/ /.test(line)) continue;
      const found = commands[name];
      assert.ok(found || name === 'help', `${page}: ${line}`);
      if (!found) continue;
      shown++;
      const { command } = await found.load();
      for (const [, option] of rest!.matchAll(/ --([a-z-]+)/g)) {
        assert.ok(option === 'help' || option! in command.options, `${page}: ${line}: no --${option}`);
      }
    }
  }
  assert.ok(shown > 10, `${shown} commands`);
});

test('every make target and every file of this working copy that a command names exists', () => {
  const makefile = readFileSync(join(root, 'Makefile'), 'utf8');
  const lanes = /^lanes := (.*)$/m
    .exec(makefile)![1]!
    .split(' ')
    .map((l) => `test-${l}`);
  const rules = [...makefile.matchAll(/^([a-z][a-z -]*):/gm)].flatMap((m) => m[1]!.split(' '));
  const targets = new Set([...lanes, ...rules, ...['receiver', 'processor', 'exporter'].map((k) => `new-${k}`)]);
  for (const page of guides) {
    for (const line of typed(page)) {
      const [, target] = /^(?:[A-Z]+='?[\w ]*'? )?make ([a-z][a-z-]*)(?= {2}| [A-Z]+=|$)/.exec(line) ?? [];
      if (target !== undefined) assert.ok(targets.has(target), `${page}: make ${target}`);
      for (const [path] of line.matchAll(/(?<![\w/.])(?:deploy|tools|docs)\/[\w./-]+\.(?:yaml|ts|md|sh)\b/g)) {
        assert.ok(existsSync(join(root, path)), `${page}: ${path}`);
      }
    }
  }
});

test('every metric, alert and dashboard that a guide names exists', () => {
  const alerts = new Set(ruleFiles.flatMap((f) => f.groups.flatMap((g) => g.alerts.map((a) => a.alert))));
  const titles = globSync('deploy/dashboards/*.json', { cwd: root }).map(
    (p) => (JSON.parse(readFileSync(join(root, p), 'utf8')) as { title: string }).title,
  );
  const names = new Set([...allowedNames].map((n) => n.replace(/_(bucket|sum|count)$/, '')));
  const catalogue = readFileSync(join(root, 'docs/reference/catalogue.json'), 'utf8');
  for (const page of guides.filter((p) => p.startsWith('docs/'))) {
    const text = readFileSync(join(root, page), 'utf8');
    for (const [name] of text.matchAll(/\bskoop_[a-z0-9_]+\b/g)) {
      const base = name.replace(/_(bucket|sum|count)$/, '');
      // Names of labels look the same; those are attributes of the catalogue.
      const isLabel = catalogue.includes(`"${name.replaceAll('_', '.')}"`) || /^skoop_netns_|^skoop_source/.test(name);
      assert.ok(names.has(base) || names.has(name) || isLabel || base === 'skoop_', `${page}: ${name}`);
    }
    for (const [name] of text.matchAll(/\b(?:Skoopline|Kubeskoop)[A-Z]\w+/g))
      assert.ok(alerts.has(name), `${page}: ${name}`);
    for (const [, title] of text.matchAll(/"(skoopline \/ [^"]+)"/g))
      assert.ok(titles.includes(title!), `${page}: ${title}`);
  }
});
