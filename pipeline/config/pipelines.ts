import type { ComponentRegistry } from '../component.ts';
import type { ComponentSection, PipelineConfig } from '../config.ts';
import type { DocumentProblem, Located, LocatedList, LocatedMap, Position } from './document.ts';
import { checkSection } from './issues.ts';
import { pipelineSchema } from './service.ts';
import { didYouMean } from './suggest.ts';

/**
 * `service.pipelines`: shapes, references, duplicates, and whether the components fit the signal. Runs on whatever is there, also when
 * components failed their own checks, so that one look at the file gives all its errors.
 */

type SectionName = 'receivers' | 'processors' | 'exporters';
type Components = Readonly<Record<SectionName, ComponentSection>>;
const sectionNames: readonly SectionName[] = ['receivers', 'processors', 'exporters'];

/** @returns the pipelines that are sound; what is wrong goes to `errors`, what is defined but used nowhere to `warnings`. */
export function checkPipelines(
  root: LocatedMap,
  components: Components,
  registry: ComponentRegistry,
  errors: DocumentProblem[],
  warnings: DocumentProblem[],
): PipelineConfig[] {
  const service = root.entries.get('service');
  const entry = service?.node.kind === 'map' ? service.node.entries.get('pipelines') : undefined;
  const isEmpty = !entry || (entry.node.kind === 'scalar' && entry.node.value === null);
  if (isEmpty || (entry.node.kind === 'map' && entry.node.entries.size === 0)) {
    const at = entry?.keyAt ?? service?.keyAt ?? root.at;
    errors.push({ at, path: ['service', 'pipelines'], message: 'required: without a pipeline nothing runs' });
    return [];
  }
  if (entry.node.kind !== 'map') {
    errors.push({
      at: entry.node.at,
      path: ['service', 'pipelines'],
      message: 'expected a mapping of pipelines by id',
    });
    return [];
  }
  const used: Record<SectionName, Set<string>> = { receivers: new Set(), processors: new Set(), exporters: new Set() };
  const out: PipelineConfig[] = [];
  const before = errors.length;
  for (const [id, pipeline] of entry.node.entries) {
    out.push(...checkPipeline(id, pipeline, components, registry, used, errors));
  }
  // A pipeline with errors may well have meant what seems to be used nowhere.
  if (errors.length === before) warnings.push(...unused(components, used));
  return out;
}

function unused(components: Components, used: Readonly<Record<SectionName, Set<string>>>): DocumentProblem[] {
  return sectionNames.flatMap((section) => {
    const { places, declarations } = components[section];
    const idle = [...places].filter(([id]) => declarations.has(id) && !used[section].has(id));
    return idle.map(([id, at]) => ({ at, path: [section, id], message: 'defined but used in no pipeline' }));
  });
}

function checkPipeline(
  id: string,
  entry: { readonly node: Located; readonly keyAt: Position },
  components: Components,
  registry: ComponentRegistry,
  used: Readonly<Record<SectionName, Set<string>>>,
  errors: DocumentProblem[],
): PipelineConfig[] {
  const path = ['service', 'pipelines', id];
  const before = errors.length;
  const signal = signalOf(id);
  if (!signal) errors.push({ at: entry.keyAt, path, message: idProblem(id) });
  const checked = checkSection(pipelineSchema, entry, path);
  errors.push(...checked.problems);
  for (const section of sectionNames) {
    const list = entry.node.kind === 'map' ? entry.node.entries.get(section) : undefined;
    if (list?.node.kind !== 'list') continue;
    checkList(list.node, section, signal, [...path, section], components[section], registry, used[section], errors);
    if (list.node.items.length === 0 && section !== 'processors') {
      errors.push({ at: list.keyAt, path: [...path, section], message: `a pipeline needs ${section}` });
    }
  }
  if (errors.length > before || !checked.value || !signal) return [];
  return [{ id, signal, ...checked.value }];
}

function signalOf(id: string): 'metrics' | 'logs' | undefined {
  const m = /^(metrics|logs)(?:\/[A-Za-z0-9][A-Za-z0-9_.-]*)?$/.exec(id);
  return m ? (m[1] as 'metrics' | 'logs') : undefined;
}

function idProblem(id: string): string {
  const type = id.split('/')[0]!;
  if (type === 'traces' || type === 'profiles')
    return `there are no ${type} here; a pipeline is metrics or logs, or one of these with /name`;
  return `a pipeline is metrics or logs, or one of these with /name${didYouMean(type, ['metrics', 'logs'])}`;
}

function checkList(
  list: LocatedList,
  section: SectionName,
  signal: 'metrics' | 'logs' | undefined,
  path: readonly (string | number)[],
  defined: ComponentSection,
  registry: ComponentRegistry,
  used: Set<string>,
  errors: DocumentProblem[],
): void {
  const seen = new Set<string>();
  for (const [i, item] of list.items.entries()) {
    if (item.kind !== 'scalar' || typeof item.value !== 'string') continue;
    const id = item.value;
    const report = (message: string) => errors.push({ at: item.at, path: [...path, i], message });
    used.add(id);
    if (seen.has(id)) report(`${id} is listed twice`);
    else if (!defined.places.has(id)) report(undefinedText(id, section, defined, registry));
    else if (signal) {
      const unfit = unfitText(id, signal, defined);
      if (unfit) report(unfit);
    }
    seen.add(id);
  }
}

function undefinedText(
  id: string,
  section: SectionName,
  defined: ComponentSection,
  registry: ComponentRegistry,
): string {
  const kind = section.slice(0, -1);
  const guess = didYouMean(id, defined.places.keys());
  const isType = Object.hasOwn(registry[section], id.split('/')[0]!);
  const hint = guess || (isType ? `; add \`${id}: {}\` there` : '');
  return `${kind} ${id} is not defined in ${section}${hint}`;
}

/** What a receiver never emits and an exporter never takes has no place in a pipeline; entities are of use in every one. */
function unfitText(id: string, signal: 'metrics' | 'logs', defined: ComponentSection): string | undefined {
  const declaration = defined.declarations.get(id);
  if (!declaration || declaration.kind === 'processor') return undefined;
  const { signals } = declaration;
  if (signals.includes(signal) || signals.includes('entities')) return undefined;
  const verb = declaration.kind === 'receiver' ? 'emits' : 'takes';
  return `${id} ${verb} ${signals.join(' and ')}, not ${signal}`;
}
