/** Dashboards and alerts: every query is PromQL and asks only for metrics that there are; the files are what the tool writes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { ruleFiles } from '../tools/dashboards/alerts.ts';
import { dashboards } from '../tools/dashboards/dashboards.ts';
import { allowedNames, buckets, kubeskoop, metric, namesIn } from '../tools/dashboards/names.ts';
import { deployFolder } from './testing.ts';

const promtool = spawnSync('promtool', ['--version']).status === 0;
const skip = promtool ? false : 'promtool is not installed';

interface Target {
  readonly expr: string;
  readonly datasource: { readonly type: string };
}
interface GrafanaPanel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly Target[];
}

/** Grafana's variables as Grafana would fill them in. */
const filled = (expr: string) =>
  expr.replace(/\$__(rate_interval|auto)/g, '1m').replace(/\$(node|namespace|pod|instance|event)\b/g, '.*');

const files = globSync(`${deployFolder}/dashboards/*.json`).map((path) => ({
  name: path.split('/').at(-1)!,
  panels: (JSON.parse(readFileSync(path, 'utf8')) as { panels: GrafanaPanel[] }).panels,
}));
const promQueries = files.flatMap(({ name, panels }) =>
  panels.flatMap((p) =>
    (p.targets ?? [])
      .filter((t) => t.datasource.type === 'prometheus')
      .map((t) => ({ name, title: p.title, expr: filled(t.expr) })),
  ),
);
const alertExpressions = ruleFiles.flatMap((f) => f.groups.flatMap((g) => g.alerts.map((a) => a.expr)));

test('the files are what the tool writes', () => {
  const { status, stdout } = spawnSync(process.execPath, ['tools/gen-dashboards.ts', '--check'], {
    cwd: `${deployFolder}/..`,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stdout);
  assert.deepEqual(files.map((f) => f.name).sort(), dashboards.map((d) => d.file).sort());
  const alerts = globSync(`${deployFolder}/alerts/*.yaml`).map((p) => p.split('/').at(-1));
  assert.deepEqual(alerts.sort(), ruleFiles.map((f) => f.file).sort());
});

test('a name that is not in the catalogue is refused', () => {
  assert.throws(() => metric('skoop.packet.dropz'), /The catalogue has no metric skoop\.packet\.dropz/);
  assert.throws(() => kubeskoop('kubeskoop_netdev_rxbites'), /No metric of the catalogue feeds/);
  assert.throws(() => buckets('skoop.packet.drops'), /is no histogram/);
});

test('queries ask only for metrics that there are', () => {
  for (const { name, title, expr } of promQueries) {
    const names = namesIn(expr);
    assert.ok(names.length > 0, `${name}, ${title}: ${expr} names no metric`);
    for (const n of names) assert.ok(allowedNames.has(n), `${name}, ${title}: there is no ${n}`);
  }
  for (const expr of alertExpressions) {
    for (const n of namesIn(expr)) assert.ok(allowedNames.has(n), `there is no ${n}`);
  }
});

test('KubeSkoop dashboards ask for KubeSkoop names only, the others for none', () => {
  for (const { name, expr } of promQueries) {
    const ofKubeskoop = namesIn(expr).map((n) => n.startsWith('kubeskoop_'));
    assert.deepEqual([...new Set(ofKubeskoop)], [name.startsWith('kubeskoop-')], `${name}: ${expr}`);
  }
});

describe('promtool', { skip }, () => {
  const checkRules = (path: string) => spawnSync('promtool', ['check', 'rules', path], { encoding: 'utf8' });

  for (const path of globSync(`${deployFolder}/alerts/*.yaml`)) {
    test(`takes ${path.split('/').at(-1)}`, () => {
      const { status, stdout, stderr } = checkRules(path);
      assert.equal(status, 0, stdout + stderr);
      const { groups } = parse(readFileSync(path, 'utf8')) as { groups: { rules: { annotations: object }[] }[] };
      for (const { rules } of groups)
        for (const rule of rules) assert.deepEqual(Object.keys(rule.annotations), ['summary', 'description']);
    });
  }

  test('reads every query of the dashboards', (t) => {
    const folder = mkdtempSync(`${tmpdir()}/skl-queries-`);
    t.after(() => rmSync(folder, { recursive: true }));
    const rules = promQueries.map(({ expr }, i) => ({ record: `skl:query:${i}`, expr }));
    writeFileSync(`${folder}/queries.yaml`, stringify({ groups: [{ name: 'queries', rules }] }));
    const { status, stdout, stderr } = checkRules(`${folder}/queries.yaml`);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, new RegExp(`${promQueries.length} rules found`));
    rules[0]!.expr += ' +';
    writeFileSync(`${folder}/queries.yaml`, stringify({ groups: [{ name: 'queries', rules }] }));
    assert.notEqual(checkRules(`${folder}/queries.yaml`).status, 0, 'and would refuse what is none');
  });
});

test('panels neither overlap nor share an id', () => {
  for (const { name, panels } of files) {
    assert.equal(new Set(panels.map((p) => p.id)).size, panels.length, name);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    assert.equal(new Set(cells).size, cells.length, `${name} has panels that overlap`);
    for (const { gridPos } of panels) assert.ok(gridPos.x + gridPos.w <= 24, name);
  }
});
