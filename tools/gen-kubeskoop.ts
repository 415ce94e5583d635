/** Fills the table of names in docs/kubeskoop.md from the catalogue. With `--check` it writes nothing and exits 1 when the page differs. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { KubeskoopName, MetricDefinition } from '../pipeline/catalogue.ts';
import { fill } from './docs/markers.ts';

process.chdir(`${import.meta.dirname}/..`);
const check = process.argv.includes('--check');
const path = 'docs/kubeskoop.md';

type Entry = MetricDefinition & { readonly component: string; readonly prometheus: string };
const { metrics } = JSON.parse(readFileSync('docs/reference/catalogue.json', 'utf8')) as { metrics: readonly Entry[] };

const code = (text: string) => `\`${text}\``;

/** What of the metric the name stands for. */
function part(name: KubeskoopName, unit: string): string {
  const pairs = (given: object) => Object.entries(given).map(([k, v]) => code(`${k}=${v}`));
  return [
    ...(name.where ? [pairs(name.where).join(', ')] : []),
    ...(name.except ? [`not ${pairs(name.except).join(', ')}`] : []),
    ...(name.above !== undefined ? [`those above ${name.above * 1000} ms`] : []),
    ...(name.scale !== undefined && name.scale !== 1 ? [`${unit} × ${Number(name.scale.toPrecision(4))}`] : []),
    ...(name.nodeOnly ? ['the node only'] : []),
  ].join('; ');
}

const sources = new Map<string, { entry: Entry; name: KubeskoopName }[]>();
for (const entry of metrics) {
  for (const name of entry.kubeskoop ?? []) {
    const list = sources.get(name.name) ?? [];
    list.push({ entry, name });
    sources.set(name.name, list);
  }
}
const rows = [...sources]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, from]) => {
    const ours = [...new Set(from.map(({ entry }) => code(entry.prometheus)))].join(', ');
    const parts = [...new Set(from.map(({ entry, name: n }) => part(n, entry.unit)).filter(Boolean))].join(' + ');
    return `| ${code(name)} | ${ours} | ${parts} |`;
  });
const table = [
  '| KubeSkoop | OpenTelemetry name, as Prometheus writes it | which part of it |',
  '| --- | --- | --- |',
  ...rows,
].join('\n');

const present = readFileSync(path, 'utf8');
const wanted = fill(present, 'kubeskoop-names', table);
if (present !== wanted) {
  if (check) {
    console.log(`${path} is not what the catalogue says; run make generate.`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, wanted);
    console.log(`wrote ${path}`);
  }
}
