import { prometheusFamily } from '../../exporters/prometheus/naming.ts';
import type { ComponentDeclaration, ComponentRegistry } from '../../pipeline/component.ts';
import { eventSection, eventsTable, metricSection, metricsTable } from './catalogue-tables.ts';
import { configTable } from './config-table.ts';
import { code, fill, table } from './markers.ts';

const kinds = ['receivers', 'processors', 'exporters'] as const;

/** A component with the folder it lives in. */
export interface Documented {
  readonly folder: string;
  readonly declaration: ComponentDeclaration;
}

/** Loads every component, in the order of the registry. */
export async function loadAll(registry: ComponentRegistry): Promise<Documented[]> {
  const out: Documented[] = [];
  for (const kind of kinds) {
    for (const [type, load] of Object.entries(registry[kind])) {
      out.push({ folder: `${kind}/${type}`, declaration: (await load()).default });
    }
  }
  return out;
}

const preface = '<!-- Written by `make generate` from the components themselves; a change made here is lost. -->';

function page(title: string, intro: string, parts: readonly string[]): string {
  return `${[preface, `# ${title}`, intro, ...parts].join('\n\n')}\n`;
}

/** Components as a table. @param up path from the document to the root of the working copy. */
export function componentsTable(all: readonly Documented[], up: string): string {
  return table(
    ['component', 'kind', 'signals', 'stability', 'the question it answers'],
    all.map(({ folder, declaration: d }) => [
      `[${d.type}](${up}${folder}/README.md)`,
      d.kind,
      d.kind === 'processor' ? '' : d.signals.join(', '),
      d.stability,
      d.summary,
    ]),
  );
}

function configPage(all: readonly Documented[]): string {
  const parts = all.map(
    ({ folder, declaration: d }) =>
      `## ${folder}\n\n${d.summary} See [its page](../../${folder}/README.md).\n\n${configTable(d.config)}`,
  );
  const intro =
    'Every key of every component. `skoopline print-config` prints a configuration with all defaults filled in.';
  return page('Configuration', intro, parts);
}

function metricsPage(all: readonly Documented[]): string {
  const parts = all
    .filter(({ declaration: d }) => d.metrics?.length)
    .map(({ folder, declaration: d }) => [`## ${folder}`, ...d.metrics!.map(metricSection)].join('\n\n'));
  return page('Metrics', 'Every metric, by the component that makes it.', parts);
}

function eventsPage(all: readonly Documented[]): string {
  const parts = all
    .filter(({ declaration: d }) => d.events?.length)
    .map(({ folder, declaration: d }) => [`## ${folder}`, ...d.events!.map(eventSection)].join('\n\n'));
  return page('Events', 'Every event, by the component that makes it.', parts);
}

function catalogueJson(all: readonly Documented[]): string {
  const metrics = all.flatMap(({ folder, declaration: d }) =>
    (d.metrics ?? []).map((m) => ({ component: folder, ...m, prometheus: prometheusFamily(m).name })),
  );
  const events = all.flatMap(({ folder, declaration: d }) =>
    (d.events ?? []).map((e) => ({ component: folder, ...e })),
  );
  return `${JSON.stringify({ metrics, events }, null, 2)}\n`;
}

/** Reference documents: path → content. */
export function referencePages(all: readonly Documented[]): Map<string, string> {
  const components = page('Components', 'What a pipeline can be made of.', [componentsTable(all, '../../')]);
  return new Map([
    ['docs/reference/components.md', components],
    ['docs/reference/config.md', configPage(all)],
    ['docs/reference/metrics.md', metricsPage(all)],
    ['docs/reference/events.md', eventsPage(all)],
    ['docs/reference/catalogue.json', catalogueJson(all)],
  ]);
}

/** A component's README with its tables filled in. */
export function filledReadme(readme: string, d: ComponentDeclaration): string {
  const withConfig = fill(readme, 'config', configTable(d.config));
  const withMetrics = fill(withConfig, 'metrics', metricsTable(d.metrics ?? []));
  return fill(withMetrics, 'events', eventsTable(d.events ?? []));
}

/** Parts of a component's README that are missing their markers though the component has something to put there. */
export function missingMarkers(readme: string, d: ComponentDeclaration): string[] {
  const wanted = ['config', ...(d.metrics?.length ? ['metrics'] : []), ...(d.events?.length ? ['events'] : [])];
  return wanted.filter((name) => !readme.includes(`<!-- generated:${name} -->`)).map(code);
}
