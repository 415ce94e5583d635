import { createHash } from 'node:crypto';
import type { ComponentDeclaration, ComponentKind, ComponentRegistry } from './component.ts';
import {
  type DocumentProblem,
  type Located,
  type LocatedMap,
  type Position,
  placeOf,
  readDocument,
  toWritten,
} from './config/document.ts';
import { checkSection } from './config/issues.ts';
import { checkPipelines } from './config/pipelines.ts';
import { type ServiceConfig, serviceSchema } from './config/service.ts';
import { didYouMean } from './config/suggest.ts';
import { messageOf } from './errors.ts';

/** One component of a config: an instance of a type with its section parsed. */
export interface ComponentConfig {
  readonly kind: ComponentKind;
  /** As written: `type` or `type/name`. */
  readonly id: string;
  readonly declaration: ComponentDeclaration;
  /** The parsed section, as `create` takes it. */
  readonly config: unknown;
  /** The section as written, environment resolved. */
  readonly plain: unknown;
  /** The section as written: fit to be shown, since what the environment holds may be secret. */
  readonly written: unknown;
}

export interface PipelineConfig {
  /** `metrics`, `logs/audit`. */
  readonly id: string;
  /** Which signal reaches its exporters, from the id's type. Entities flow through every pipeline besides. */
  readonly signal: 'metrics' | 'logs';
  readonly receivers: readonly string[];
  readonly processors: readonly string[];
  readonly exporters: readonly string[];
}

/** A config that can run. */
export interface AgentConfig {
  readonly file: string;
  readonly receivers: ReadonlyMap<string, ComponentConfig>;
  readonly processors: ReadonlyMap<string, ComponentConfig>;
  readonly exporters: ReadonlyMap<string, ComponentConfig>;
  readonly pipelines: readonly PipelineConfig[];
  readonly service: ServiceConfig;
  /** The `service` section as written, its pipelines too. */
  readonly writtenService: unknown;
  /** SHA-256 of what the file says, environment resolved: equal for files that differ in comments and order of keys only. */
  readonly hash: string;
}

/** Something wrong with a config file, or (`warning`) something that is probably not meant. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly col: number;
  /** `receivers.ebpf.probs`; empty for what is wrong with the YAML itself. */
  readonly path: string;
  readonly message: string;
}

/** `pipeline.yaml:14:7 receivers.ebpf.probs: unknown key (did you mean "probes"?)` */
export function problemText(p: Problem): string {
  const path = p.path === '' ? '' : `${p.path}: `;
  return `${p.file}:${p.line}:${p.col} ${p.severity === 'warning' ? 'warning: ' : ''}${path}${p.message}`;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: AgentConfig; readonly problems: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface ReadConfigOptions {
  /** Name of the file, for messages. */
  readonly file: string;
  readonly registry: ComponentRegistry;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Warnings are errors. */
  readonly strict?: boolean;
}

/** Reads and checks a config. Touches nothing. Every problem of the file is reported at once, in the order of the file. */
export async function readConfig(text: string, options: ReadConfigOptions): Promise<ConfigResult> {
  const { root, problems } = readDocument(text, options.env);
  const errors: DocumentProblem[] = [...problems];
  const warnings: DocumentProblem[] = [];
  let config: AgentConfig | undefined;
  if (root) config = await readRoot(root, options, errors, warnings);
  else if (problems.length === 0) errors.push({ at: { line: 1, col: 1 }, path: [], message: 'the file is empty' });
  const all = [
    ...errors.map((p) => toProblem(p, 'error', options.file)),
    ...warnings.map((p) => toProblem(p, options.strict ? 'error' : 'warning', options.file)),
  ];
  all.sort((a, b) => a.line - b.line || a.col - b.col || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const isGood = config && all.every((p) => p.severity === 'warning');
  return isGood ? { ok: true, config: config!, problems: all } : { ok: false, problems: all };
}

function toProblem(p: DocumentProblem, severity: Problem['severity'], file: string): Problem {
  const path = p.path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  );
  return { severity, file, line: p.at.line, col: p.at.col, path, message: p.message };
}

const sections = { receivers: 'receiver', processors: 'processor', exporters: 'exporter' } as const;
type SectionName = keyof typeof sections;

async function readRoot(
  root: Located,
  options: ReadConfigOptions,
  errors: DocumentProblem[],
  warnings: DocumentProblem[],
): Promise<AgentConfig | undefined> {
  if (root.kind !== 'map') {
    errors.push({
      at: root.at,
      path: [],
      message: 'expected the sections receivers, processors, exporters and service',
    });
    return undefined;
  }
  const known = [...Object.keys(sections), 'service'];
  for (const [key, { keyAt }] of root.entries) {
    if (!known.includes(key)) errors.push({ at: keyAt, path: [key], message: `unknown key${didYouMean(key, known)}` });
  }
  const components = {
    receivers: await readComponents(root, 'receivers', options.registry, errors),
    processors: await readComponents(root, 'processors', options.registry, errors),
    exporters: await readComponents(root, 'exporters', options.registry, errors),
  };
  const service = readService(root, errors);
  const pipelines = checkPipelines(root, components, options.registry, errors, warnings);
  if (errors.length > 0 || !service) return undefined;
  return {
    file: options.file,
    receivers: components.receivers.parsed,
    processors: components.processors.parsed,
    exporters: components.exporters.parsed,
    pipelines,
    service,
    writtenService: toWritten(root.entries.get('service')!.node),
    hash: createHash('sha256').update(canonical(root)).digest('hex'),
  };
}

/** The components of one section: those that parsed, and where each id stands, parsed or not. */
export interface ComponentSection {
  readonly parsed: ReadonlyMap<string, ComponentConfig>;
  readonly places: ReadonlyMap<string, Position>;
  readonly declarations: ReadonlyMap<string, ComponentDeclaration>;
}

const idPattern = /^[a-z][a-z0-9_]*(?:\/[A-Za-z0-9][A-Za-z0-9_.-]*)?$/;

async function readComponents(
  root: LocatedMap,
  section: SectionName,
  registry: ComponentRegistry,
  errors: DocumentProblem[],
): Promise<ComponentSection> {
  const parsed = new Map<string, ComponentConfig>();
  const places = new Map<string, Position>();
  const declarations = new Map<string, ComponentDeclaration>();
  const found = root.entries.get(section);
  const isEmpty = found?.node.kind === 'scalar' && found.node.value === null;
  if (!found || isEmpty) return { parsed, places, declarations };
  if (found.node.kind !== 'map') {
    errors.push({ at: found.node.at, path: [section], message: `expected a mapping of ${section} by id` });
    return { parsed, places, declarations };
  }
  for (const [id, entry] of found.node.entries) {
    places.set(id, entry.keyAt);
    const component = await readComponent(section, id, entry, registry, errors);
    if (component?.declaration) declarations.set(id, component.declaration);
    if (component?.parsed) parsed.set(id, component.parsed);
  }
  return { parsed, places, declarations };
}

async function readComponent(
  section: SectionName,
  id: string,
  entry: { readonly node: Located; readonly keyAt: Position },
  registry: ComponentRegistry,
  errors: DocumentProblem[],
): Promise<{ declaration: ComponentDeclaration; parsed?: ComponentConfig } | undefined> {
  const kind = sections[section];
  const path = [section, id];
  const type = id.split('/')[0]!;
  const known = registry[section];
  if (!Object.hasOwn(known, type)) {
    errors.push({ at: entry.keyAt, path, message: unknownType(type, section, registry) });
    return undefined;
  }
  if (!idPattern.test(id)) {
    errors.push({ at: entry.keyAt, path, message: `'${id}' is not an id; write ${type} or ${type}/name` });
    return undefined;
  }
  let declaration: ComponentDeclaration;
  try {
    declaration = (await known[type]!()).default;
  } catch (error) {
    errors.push({ at: entry.keyAt, path, message: `cannot be loaded: ${messageOf(error)}` });
    return undefined;
  }
  const checked = checkSection(declaration.config, entry, path);
  errors.push(...checked.problems);
  const subject = checked.value ?? checked.repaired;
  if (subject !== undefined) errors.push(...crossCheck(declaration, subject, entry, path, checked.problems));
  if (checked.value === undefined) return { declaration };
  return {
    declaration,
    parsed: {
      kind,
      id,
      declaration,
      config: checked.value,
      plain: checked.plain,
      written: toWritten(entry.node) ?? {},
    },
  };
}

function unknownType(type: string, section: SectionName, registry: ComponentRegistry): string {
  const elsewhere = (Object.keys(sections) as SectionName[]).find((s) => Object.hasOwn(registry[s], type));
  if (elsewhere) return `${type} is not one of the ${section} but of the ${elsewhere}`;
  return `unknown ${sections[section]}${didYouMean(type, Object.keys(registry[section]))}`;
}

/** The component's own rules. Where fields failed, only what its rules say about other fields is told. */
function crossCheck(
  declaration: ComponentDeclaration,
  config: unknown,
  entry: { readonly node: Located; readonly keyAt: Position },
  path: readonly (string | number)[],
  already: readonly DocumentProblem[],
): DocumentProblem[] {
  const failed = new Set(already.map((p) => p.path.join('\0')));
  const out: DocumentProblem[] = [];
  for (const rule of rulesBroken(declaration, config, failed.size > 0)) {
    const full = [...path, ...rule.path];
    if (full.some((_, i) => failed.has(full.slice(0, i + 1).join('\0')))) continue;
    const isWhole = rule.path.length === 0 || entry.node.kind === 'scalar';
    out.push({ at: isWhole ? entry.keyAt : placeBelow(entry, rule.path), path: full, message: rule.message });
  }
  return out;
}

/** @param isPartial some keys may be missing, which no rule expects. */
function rulesBroken(declaration: ComponentDeclaration, config: unknown, isPartial: boolean) {
  try {
    return declaration.check?.(config) ?? [];
  } catch (error) {
    if (isPartial) return [];
    return [{ path: [], message: `cannot be checked: ${messageOf(error)}` }];
  }
}

function placeBelow(
  entry: { readonly node: Located; readonly keyAt: Position },
  path: readonly (string | number)[],
): Position {
  const { node } = entry;
  const isThere = node.kind === 'map' && node.entries.has(String(path[0]));
  return isThere ? placeOf(node, path) : entry.keyAt;
}

function readService(root: LocatedMap, errors: DocumentProblem[]): ServiceConfig | undefined {
  const entry = root.entries.get('service') ?? {
    keyAt: root.at,
    node: { kind: 'map' as const, at: root.at, size: 1, entries: new Map() },
  };
  const checked = checkSection(serviceSchema, entry, ['service']);
  errors.push(...checked.problems);
  if (checked.value === undefined) return undefined;
  const { pipelines: _, ...service } = checked.value;
  return service;
}

/** JSON with sorted keys. */
function canonical(node: Located): string {
  if (node.kind === 'scalar') return JSON.stringify(node.value) ?? 'null';
  if (node.kind === 'list') return `[${node.items.map(canonical).join(',')}]`;
  const keys = [...node.entries.keys()].sort();
  return `{${keys.map((k) => `${JSON.stringify(k)}:${canonical(node.entries.get(k)!.node)}`).join(',')}}`;
}
