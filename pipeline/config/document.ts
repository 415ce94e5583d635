import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLParseError,
  type YAMLWarning,
} from 'yaml';
import { substitute, typeOf } from './env.ts';

/** A place in the file, both counted from 1. */
export interface Position {
  readonly line: number;
  readonly col: number;
}

/** Something to tell the user about a place of the file. */
export interface DocumentProblem {
  readonly at: Position;
  /** Keys and indexes from the root; empty for what is wrong with the YAML itself. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

interface Placed {
  /** Where the value begins (through aliases: where it was defined). */
  readonly at: Position;
  /** Number of values in it with every alias written out. */
  readonly size: number;
}
/** A mapping. Keys keep their order; each knows where it stands. */
export interface LocatedMap extends Placed {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, { readonly keyAt: Position; readonly node: Located }>;
}
export interface LocatedList extends Placed {
  readonly kind: 'list';
  readonly items: readonly Located[];
}
export interface LocatedScalar extends Placed {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /** Where `${env:…}` was in it: the text as written. Such values are never printed. */
  readonly written?: string;
  /** Something is wrong with it that has been reported: nothing more is said about it. */
  readonly broken?: true;
  /** The text before it was typed, where the type came from the environment: `"0123"` of 123. */
  readonly text?: string;
}
/** A YAML value with its place, references to the environment already resolved. */
export type Located = LocatedMap | LocatedList | LocatedScalar;

/** Enough for any real pipeline; an alias bomb has billions. */
const maxValues = 10_000;

/**
 * Reads YAML 1.2 (core schema, aliases, merge keys) and resolves `${env:…}` on scalars.
 *
 * @returns the root, where the text is YAML at all, and everything that is wrong with the text.
 */
export function readDocument(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): { readonly root: Located | undefined; readonly problems: readonly DocumentProblem[] } {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, merge: false });
  const problems: DocumentProblem[] = [];
  for (const e of [...independent(doc.errors), ...doc.warnings]) {
    problems.push({ at: lines.linePos(e.pos[0]), path: [], message: yamlMessage(e, text) });
  }
  if (doc.errors.length > 0) return { root: undefined, problems };
  const reader = new Reader(lines, env, problems);
  const root = doc.contents ? reader.read(doc.contents as Node, []) : undefined;
  return { root: reader.tooBig ? undefined : root, problems };
}

/** Less the errors that follow from one before: a parser that lost its way complains about all the rest. */
function independent(errors: readonly YAMLParseError[]): YAMLParseError[] {
  const places = new Set<number>();
  return errors.filter((e, i) => {
    if (i > 0 && (e.code === 'UNEXPECTED_TOKEN' || places.has(e.pos[0]))) return false;
    places.add(e.pos[0]);
    return true;
  });
}

function yamlMessage(error: YAMLParseError | YAMLWarning, text: string): string {
  const [at] = error.pos;
  if (text[at] === '{' && text[at - 1] === '$')
    return `not valid YAML: inside { } and [ ] a reference like \${env:NAME} needs quotes`;
  if (error.code === 'MULTIPLE_DOCS') return 'not valid YAML: a config is one document, without ---';
  const line = error.message.split('\n')[0] ?? '';
  return `not valid YAML: ${line.charAt(0).toLowerCase()}${line.slice(1).replace(/[.:]$/, '')}`;
}

type Path = readonly (string | number)[];

class Reader {
  readonly #lines: LineCounter;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #problems: DocumentProblem[];
  readonly #done = new Map<Node, Located>();
  readonly #open = new Set<Node>();
  readonly #anchors = new Map<string, Node>();
  tooBig = false;

  constructor(lines: LineCounter, env: Readonly<Record<string, string | undefined>>, problems: DocumentProblem[]) {
    this.#lines = lines;
    this.#env = env;
    this.#problems = problems;
  }

  read(node: Node, path: Path): Located {
    const before = this.#done.get(node);
    if (before) return before;
    if (isAlias(node)) return this.#alias(node.source, this.#at(node), path);
    if ('anchor' in node && typeof node.anchor === 'string') this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const made = this.#make(node, path);
    this.#open.delete(node);
    this.#done.set(node, made);
    if (made.size > maxValues && !this.tooBig) {
      this.tooBig = true;
      this.#report(made.at, path, `more than ${maxValues} values once aliases are written out`);
    }
    return made;
  }

  #make(node: Node, path: Path): Located {
    if (isMap(node)) return this.#map(node.items as Pair<Node, Node | null>[], this.#at(node), path);
    if (isSeq(node)) {
      const items = node.items.map((item, i) => this.read(item as Node, [...path, i]));
      return { kind: 'list', at: this.#at(node), items, size: 1 + sum(items) };
    }
    return this.#scalar(node as Scalar, path);
  }

  /** An alias stands for the last node before it that has its anchor, and never for a node it is itself part of. */
  #alias(name: string, at: Position, path: Path): Located {
    const target = this.#anchors.get(name);
    if (target && !this.#open.has(target)) return this.read(target, path);
    this.#report(at, path, target ? `alias *${name} is part of what it stands for` : `alias *${name} has no anchor`);
    return { kind: 'scalar', at, value: null, size: 1, broken: true };
  }

  #map(pairs: readonly Pair<Node, Node | null>[], at: Position, path: Path): LocatedMap {
    const entries = new Map<string, { keyAt: Position; node: Located }>();
    const merged: LocatedMap[] = [];
    for (const { key, value } of pairs) {
      const keyAt = key ? this.#at(key) : at;
      if (!isScalar(key) || key.value === null) {
        this.#report(keyAt, path, 'a key must be plain text');
        continue;
      }
      const name = String(key.value);
      const inner = [...path, name];
      const node: Located = value ? this.read(value, inner) : { kind: 'scalar', at: keyAt, value: null, size: 1 };
      if (name === '<<' && key.type === 'PLAIN') merged.push(...this.#mergeSources(node, keyAt, path));
      else if (entries.has(name)) {
        this.#report(keyAt, inner, `duplicate key, first on line ${entries.get(name)!.keyAt.line}`);
      } else entries.set(name, { keyAt, node });
    }
    for (const source of merged) {
      for (const [name, entry] of source.entries) if (!entries.has(name)) entries.set(name, entry);
    }
    return { kind: 'map', at, entries, size: 1 + sum([...entries.values()].map((e) => e.node)) };
  }

  #mergeSources(node: Located, at: Position, path: Path): LocatedMap[] {
    const sources = node.kind === 'list' ? node.items : [node];
    const maps = sources.filter((s) => s.kind === 'map');
    if (maps.length < sources.length) this.#report(at, path, '<< takes a mapping or a list of mappings');
    return maps;
  }

  #scalar(node: Scalar, path: Path): LocatedScalar {
    const at = this.#at(node);
    const { value } = node;
    if (typeof value !== 'string' || !value.includes('$')) {
      return { kind: 'scalar', at, value: plainValue(value), size: 1 };
    }
    const { text, references, problems } = substitute(value, this.#env);
    for (const message of problems) this.#report(at, path, message);
    if (problems.length > 0) return { kind: 'scalar', at, value: null, written: value, size: 1, broken: true };
    if (!references) return { kind: 'scalar', at, value: text, size: 1 };
    const retype = node.type === 'PLAIN' && node.tag === undefined;
    if (!retype) return { kind: 'scalar', at, value: text, written: value, size: 1 };
    return { kind: 'scalar', at, value: typeOf(text), text, written: value, size: 1 };
  }

  #at(node: Node): Position {
    return this.#lines.linePos(node.range?.[0] ?? 0);
  }

  #report(at: Position, path: Path, message: string): void {
    this.#problems.push({ at, path, message });
  }
}

function sum(nodes: readonly Located[]): number {
  return nodes.reduce((n, node) => n + node.size, 0);
}

function plainValue(value: unknown): LocatedScalar['value'] {
  if (value === null || typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string')
    return value;
  return String(value);
}

/** The plain value: an empty (`null`) entry of a mapping becomes undefined, so that it stands for the default. */
export function toPlain(node: Located): unknown {
  if (node.kind === 'scalar') return node.value;
  if (node.kind === 'list') return node.items.map(toPlain);
  const out: Record<string, unknown> = {};
  for (const [key, { node: inner }] of node.entries) {
    const value = toPlain(inner);
    Object.defineProperty(out, key, {
      value: value ?? undefined,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return out;
}

/** The plain value with references to the environment as they were written: fit to be shown. */
export function toWritten(node: Located): unknown {
  if (node.kind === 'scalar') return node.written ?? node.value;
  if (node.kind === 'list') return node.items.map(toWritten);
  const entries = [...node.entries].map(([key, { node: inner }]) => [key, toWritten(inner) ?? undefined]);
  return Object.fromEntries(entries);
}

/** The value at a path, and the place of the key that names it; undefined where the file says nothing. */
export function locate(root: Located, path: Path): { readonly node: Located; readonly keyAt: Position } | undefined {
  let found = { node: root, keyAt: root.at };
  for (const step of path) {
    const { node } = found;
    if (node.kind === 'map' && node.entries.has(String(step))) found = node.entries.get(String(step))!;
    else if (node.kind === 'list' && typeof step === 'number' && node.items[step]) {
      found = { node: node.items[step], keyAt: node.items[step].at };
    } else return undefined;
  }
  return found;
}

/** Where to point for a path: at the value; for an empty one at its key; for a missing one at the nearest key around it. */
export function placeOf(root: Located, path: Path): Position {
  const exact = locate(root, path);
  if (exact) return exact.node.kind === 'scalar' && exact.node.value === null ? exact.keyAt : exact.node.at;
  for (let n = path.length - 1; n > 0; n--) {
    const near = locate(root, path.slice(0, n));
    if (near) return near.keyAt;
  }
  return root.at;
}
