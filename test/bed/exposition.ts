/** A reader of the Prometheus text format for assertions; the strict judge of the format is a real Prometheus (test/interop). */

/** One sample line. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\})? (\S+)(?: -?[\d.]+)?(?: # .*)?$/;
const labelPair = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\])*)"(?:,|$)/g;

const unescaped = (text: string) => text.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));

function numberOf(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

/** All samples of a scrape. Throws at a line that is neither sample nor comment. */
export function parseExposition(text: string): Sample[] {
  const out: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const m = sampleLine.exec(line);
    if (!m) throw new Error(`Not a sample line: ${line}`);
    const labels: Record<string, string> = {};
    for (const [, key, value] of (m[2] ?? '').matchAll(labelPair)) labels[key!] = unescaped(value!);
    out.push({ name: m[1]!, labels, value: numberOf(m[3]!) });
  }
  return out;
}

/** The samples of that name whose labels include all of `labels`. */
export function select(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Sample[] {
  const wanted = Object.entries(labels);
  return samples.filter((s) => s.name === name && wanted.every(([k, v]) => s.labels[k] === v));
}

/** The value of the one sample that {@link select} finds; throws, with what there is, when there is none or several. */
export function valueOfOne(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const found = select(samples, name, labels);
  if (found.length === 1) return found[0]!.value;
  const near = samples.filter((s) => s.name === name).map((s) => JSON.stringify(s.labels));
  throw new Error(
    `${found.length} samples of ${name} with ${JSON.stringify(labels)}; there are ${near.length}: ${near.slice(0, 12).join(' ')}`,
  );
}
