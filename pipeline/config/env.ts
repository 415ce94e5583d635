/**
 * References to the environment in scalars: `${env:NAME}` and `${env:NAME:-default}`, as in the OpenTelemetry Collector. The default
 * applies when the variable is not set (set but empty counts as set) and may itself hold references. `$$` stands for one `$`.
 */

/** What became of one scalar. */
export interface Substitution {
  readonly text: string;
  /** Whether anything came from the environment (or from a default). */
  readonly references: boolean;
  readonly problems: readonly string[];
}

const name = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function substitute(source: string, env: Readonly<Record<string, string | undefined>>): Substitution {
  const problems: string[] = [];
  let references = false;
  let text = '';
  for (let i = 0; i < source.length; ) {
    if (source.startsWith('$$', i)) {
      text += '$';
      i += 2;
    } else if (source.startsWith('${', i)) {
      const end = closing(source, i + 2);
      if (end < 0) {
        problems.push(`'${source.slice(i)}' has no closing brace; write $$ for a plain $`);
        break;
      }
      references = true;
      const { value, problem } = resolve(source.slice(i + 2, end), env);
      text += value;
      problems.push(...problem);
      i = end + 1;
    } else {
      text += source[i];
      i++;
    }
  }
  return { text, references, problems };
}

/** Index of the brace that closes the one before `from`, or -1. */
function closing(source: string, from: number): number {
  let depth = 1;
  for (let i = from; i < source.length; i++) {
    if (source.startsWith('${', i)) depth++;
    else if (source[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

function resolve(
  inner: string,
  env: Readonly<Record<string, string | undefined>>,
): { value: string; problem: readonly string[] } {
  if (!inner.startsWith('env:')) {
    const hint = name.test(inner) ? `write \${env:${inner}}` : `only \${env:NAME} is known`;
    return { value: '', problem: [`cannot resolve '\${${inner}}': ${hint}, or $$ for a plain $`] };
  }
  const split = inner.indexOf(':-');
  const key = inner.slice(4, split < 0 ? undefined : split);
  if (!name.test(key)) return { value: '', problem: [`'${key}' is not the name of an environment variable`] };
  const value = env[key];
  if (value !== undefined) return { value, problem: [] };
  if (split < 0) {
    return { value: '', problem: [`environment variable ${key} is not set; \${env:${key}:-default} gives a default`] };
  }
  const fallback = substitute(inner.slice(split + 2), env);
  return { value: fallback.text, problem: fallback.problems };
}

/** Types a plain scalar by the YAML 1.2 core schema. */
export function typeOf(text: string): string | number | boolean | null {
  if (/^(?:~|null|Null|NULL)?$/.test(text)) return null;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  if (/^[-+]?[0-9]+$/.test(text)) return Number.parseInt(text, 10);
  if (/^0o[0-7]+$/.test(text)) return Number.parseInt(text.slice(2), 8);
  if (/^0x[0-9a-fA-F]+$/.test(text)) return Number.parseInt(text.slice(2), 16);
  if (/^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text)) return Number(text);
  if (/^[-+]?\.(?:inf|Inf|INF)$/.test(text))
    return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^\.(?:nan|NaN|NAN)$/.test(text)) return Number.NaN;
  return text;
}
