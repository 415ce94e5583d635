import type { Rules } from './config.ts';

type Test = (value: string) => boolean;
/** Decides whether something stays that goes by one or several names. */
export type Verdict = (...names: string[]) => boolean;

/**
 * Compiles a pattern: `/…/` is a regular expression that may match anywhere, `*` and `?` stand for any characters and any one, else
 * the value must be equal.
 *
 * @throws SyntaxError for a bad regular expression.
 */
export function compilePattern(pattern: string): Test {
  if (pattern.length > 1 && pattern.startsWith('/') && pattern.endsWith('/')) {
    const regexp = new RegExp(pattern.slice(1, -1), 'u');
    return (value) => regexp.test(value);
  }
  if (!/[*?]/.test(pattern)) return (value) => value === pattern;
  const source = pattern.replace(/[*?]|[^*?]+/g, (part) => (part === '*' ? '.*' : part === '?' ? '.' : literal(part)));
  const regexp = new RegExp(`^${source}$`, 'su');
  return (value) => regexp.test(value);
}

/** Compiles include and exclude lists; undefined when they let everything through. Of several names, one included one suffices and none may be excluded. */
export function compileRules({ include, exclude }: Rules): Verdict | undefined {
  if (include === undefined && exclude === undefined) return undefined;
  const includes = include?.map(compilePattern);
  const excludes = (exclude ?? []).map(compilePattern);
  const hits = (tests: readonly Test[], names: readonly string[]) =>
    names.some((name) => tests.some((test) => test(name)));
  return (...names) => (includes === undefined || hits(includes, names)) && !hits(excludes, names);
}

/** Paths and messages of patterns that do not compile. */
export function badPatterns(rules: Rules, path: readonly string[]): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  for (const list of ['include', 'exclude'] as const) {
    for (const [i, pattern] of (rules[list] ?? []).entries()) {
      try {
        compilePattern(pattern);
      } catch (error) {
        problems.push({ path: [...path, list, i], message: (error as Error).message });
      }
    }
  }
  return problems;
}

/** Makes text stand for itself in a regular expression (RegExp.escape needs Node 24). */
function literal(text: string): string {
  return text.replace(/[\\^$.|+()[\]{}/]/g, '\\$&');
}
