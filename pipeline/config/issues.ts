import { ZodObject, type ZodType, type z } from 'zod';
import { type DocumentProblem, type Located, locate, type Position, placeOf, toPlain } from './document.ts';
import { knownKeys } from './keys.ts';
import { didYouMean } from './suggest.ts';

/**
 * Checks a section of the file against a zod schema and says what is wrong in words and with places.
 */

type Issue = z.core.$ZodIssue;
type Path = readonly (string | number)[];

/** What a section came to. */
export interface Checked<T> {
  /** The parsed section; undefined when something is wrong with it. */
  readonly value: T | undefined;
  /** Where `value` is undefined: the parsed section with what is wrong left to its defaults, for further checks. */
  readonly repaired: T | undefined;
  /** The section as the user wrote it, environment resolved. */
  readonly plain: unknown;
  /** Paths from the root of the file. */
  readonly problems: readonly DocumentProblem[];
}

/** @param base path of `section` from the root of the file; `keyAt` the place of its key. */
export function checkSection<T>(
  schema: ZodType<T, unknown>,
  section: { readonly node: Located; readonly keyAt: Position },
  base: Path,
): Checked<T> {
  const { node } = section;
  let plain = toPlain(node) ?? {};
  let parsed = schema.safeParse(plain, { error: inWords });
  if (!parsed.success && takeTexts(node, plain, parsed.error.issues))
    parsed = schema.safeParse(plain, { error: inWords });
  if (parsed.success) return { value: parsed.data, repaired: undefined, plain, problems: [] };

  const issues = parsed.error.issues.flatMap((issue) => flatten(issue));
  const problems: DocumentProblem[] = [];
  for (const issue of issues) problems.push(...problemsOf(issue, schema, section, base));
  plain = toPlain(node) ?? {};
  return { value: undefined, repaired: repair(schema, plain, issues), plain, problems };
}

/** What is left when the keys that are wrong take their defaults, or are left out where they have none. */
function repair<T>(schema: ZodType<T, unknown>, plain: unknown, issues: readonly Issue[]): T | undefined {
  const rest = without(structuredClone(plain), issues);
  const parsed = schema.safeParse(rest);
  if (parsed.success) return parsed.data;
  if (!(schema instanceof ZodObject)) return undefined;
  try {
    const missing = parsed.error.issues.map((issue) => String(issue.path[0]));
    for (const key of missing) delete (rest as Record<string, unknown>)[key];
    const partial: ZodObject = schema.omit(
      Object.fromEntries(missing.map((key) => [key, true])) as Record<string, never>,
    );
    const part = partial.safeParse(rest);
    return part.success ? (part.data as unknown as T) : undefined;
  } catch {
    return undefined;
  }
}

/** Where a string is wanted and the environment gave something that looks like a number, the text is what was meant. */
function takeTexts(node: Located, plain: unknown, issues: readonly Issue[]): boolean {
  let changed = false;
  for (const issue of issues.flatMap(flatten)) {
    if (issue.code !== 'invalid_type' && issue.code !== 'invalid_value') continue;
    const path = issue.path as Path;
    const found = locate(node, path)?.node;
    if (
      found?.kind === 'scalar' &&
      found.text !== undefined &&
      typeof found.value !== 'string' &&
      found.value !== null
    ) {
      changed = assign(plain, path, found.text) || changed;
    }
  }
  return changed;
}

function assign(root: unknown, path: Path, value: unknown): boolean {
  const last = path.at(-1);
  let at = root as Record<string | number, unknown> | undefined;
  for (const step of path.slice(0, -1)) at = at?.[step] as typeof at;
  if (last === undefined || typeof at !== 'object' || at === null) return false;
  at[last] = value;
  return true;
}

/** The plain section less everything that an issue is about. */
function without(plain: unknown, issues: readonly Issue[]): unknown {
  for (const issue of issues) {
    if (issue.path.length === 0 && issue.code !== 'unrecognized_keys') return {};
    if (issue.code !== 'unrecognized_keys') assign(plain, issue.path as Path, undefined);
    else {
      let at = plain as Record<string | number, unknown> | undefined;
      for (const step of issue.path as Path) at = at?.[step] as typeof at;
      if (at) for (const key of issue.keys) delete at[key];
    }
  }
  return plain;
}

/** A union's issue becomes the issues of the variant that came nearest, where one of them came further than the first look. */
function flatten(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const far = issue.errors
    .filter((variant) =>
      variant.some((i) => i.path.length > 0 || i.code === 'unrecognized_keys' || i.code === 'custom'),
    )
    .sort((a, b) => a.length - b.length)[0];
  if (!far) return [issue];
  return far.flatMap((i) => flatten({ ...i, path: [...issue.path, ...i.path] } as Issue));
}

function problemsOf(
  issue: Issue,
  schema: ZodType,
  section: { readonly node: Located; readonly keyAt: Position },
  base: Path,
): DocumentProblem[] {
  const path = issue.path as Path;
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path);
    return issue.keys.map((key) => ({
      at: locate(section.node, [...path, key])?.keyAt ?? section.keyAt,
      path: [...base, ...path, key],
      message: `unknown key${didYouMean(key, known)}`,
    }));
  }
  const found = locate(section.node, path)?.node;
  if (found?.kind === 'scalar' && found.broken) return [];
  const isEmpty = !found || (found.kind === 'scalar' && found.value === null);
  const at =
    path.length === 0 || (isEmpty && path.length === 1 && !found)
      ? placeIn(section, path)
      : placeOf(section.node, path);
  const message =
    isEmpty && issue.code === 'invalid_type' ? `required, ${issue.message}` : `${issue.message}${got(issue, found)}`;
  return [{ at, path: [...base, ...path], message }];
}

/** A missing key at the top of a section stands at the section's own key. */
function placeIn(section: { readonly node: Located; readonly keyAt: Position }, path: Path): Position {
  return path.length === 0 && section.node.kind !== 'scalar' ? section.node.at : section.keyAt;
}

/** `, got 'abc'`; what came from the environment may be a secret and is named, not shown. */
function got(issue: Issue, found: Located | undefined): string {
  if (issue.code === 'custom' || issue.message.includes(', got ')) return '';
  if (found === undefined) return '';
  if (found.kind === 'map') return ', got a mapping';
  if (found.kind === 'list') return ', got a list';
  if (found.written !== undefined) return `, got the value of ${found.written}`;
  const text = `, got ${typeof found.value === 'string' ? `'${found.value}'` : String(found.value)}`;
  const isEnum = issue.code === 'invalid_value' && typeof found.value === 'string';
  return isEnum ? `${text}${didYouMean(String(found.value), issue.values.map(String))}` : text;
}

const typeNames: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  map: 'a mapping',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  null: 'nothing',
};

/** zod's issues in this project's words; used wherever a schema has no words of its own. */
function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${typeNames[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return issue.values.length === 1
        ? `expected ${String(issue.values[0])}`
        : `expected one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return bound(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum);
    case 'too_big':
      return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum);
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return issue.format === 'regex'
        ? `must match ${issue.pattern}`
        : `expected ${issue.format === 'url' ? 'a URL' : issue.format}`;
    case 'invalid_union':
      return union(issue.errors);
    case 'invalid_key':
      return 'this key is not allowed here';
    default:
      return undefined;
  }
}

function bound(origin: string, words: string, limit: unknown): string {
  const isCounted = origin === 'string' || origin === 'array' || origin === 'set';
  if (!isCounted) return `must be ${words} ${limit}`;
  const unit = origin === 'string' ? 'character' : 'item';
  return `must have ${words} ${limit} ${unit}${limit === 1 || limit === 1n ? '' : 's'}`;
}

function union(errors: readonly (readonly Issue[])[]): string {
  const parts = errors.flatMap((variant) => variant.map((i) => i.message.replace(/^expected /, '')));
  return parts.length > 0 ? `expected ${[...new Set(parts)].join(' or ')}` : 'no variant has this shape';
}
