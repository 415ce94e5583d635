/** Text from outside, numbers for people, and lines that know their width. */

/**
 * Makes text from outside (names of pods, processes, questions asked of DNS) safe to print and one column a character: everything but printable ASCII
 * and Latin letters becomes `?`. So no control sequence reaches a terminal, no letter joins its neighbour, and no right-to-left mark turns a line round.
 */
export function clean(text: string): string {
  return text.replace(/[^\x20-\x7e\u00a1-\u00ac\u00ae-\u024f]/g, '?');
}

/** Styles by meaning; how they look is in {@link renderLine}. */
export type Style = 'bold' | 'dim' | 'bad' | 'warn' | 'good' | 'bar' | 'selected';

export interface Span {
  readonly text: string;
  readonly style?: Style;
}
/** One row of a screen. */
export type Line = readonly Span[];

const csi = '\u001b[';
const looks: Readonly<Record<Style, readonly [plain: string, coloured: string]>> = {
  bold: ['1', '1'],
  dim: ['2', '2'],
  bad: ['1', '1;31'],
  warn: ['', '33'],
  good: ['', '32'],
  bar: ['7', '7'],
  selected: ['7', '7'],
};

/** A line as it goes to the terminal: at most `width` columns. */
export function renderLine(line: Line, width: number, colour: boolean): string {
  let out = '';
  let left = width;
  for (const { text, style } of line) {
    if (left <= 0) break;
    const part = text.slice(0, left);
    left -= part.length;
    const look = style === undefined ? '' : looks[style][colour ? 1 : 0];
    out += look === '' ? part : `${csi}${look}m${part}${csi}0m`;
  }
  return out;
}

/** A line without its styles. */
export function plainLine(line: Line): string {
  return line
    .map((s) => s.text)
    .join('')
    .trimEnd();
}

export function widthOf(line: Line): number {
  return line.reduce((n, s) => n + s.text.length, 0);
}

/** Cut or filled to a width; what is cut ends with `…`. */
export function fit(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  if (width <= 0) return '';
  const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text;
  return align === 'left' ? cut.padEnd(width) : cut.padStart(width);
}

/** Adds what is missing to a width, so that a style covers the whole row. */
export function fill(line: Line, width: number, style?: Style): Line {
  const missing = width - widthOf(line);
  return missing > 0 ? [...line, { text: ' '.repeat(missing), ...(style && { style }) }] : line;
}

/** A count or a rate in at most 5 columns: `0`, `2.3`, `23`, `1234`, `12k`, `1.2M`; `-` = not observed. */
export function number(n: number | undefined): string {
  if (n === undefined || Number.isNaN(n)) return '-';
  if (n === 0) return '0';
  if (n < 0.05) return '<0.1';
  if (n < 9.95) return String(Math.round(n * 10) / 10);
  if (n < 9999.5) return String(Math.round(n));
  for (const [unit, by] of [
    ['k', 1e3],
    ['M', 1e6],
    ['G', 1e9],
    ['T', 1e12],
  ] as const) {
    const m = n / by;
    if (m < 999.5) return `${m < 9.95 ? m.toFixed(1) : Math.round(m)}${unit}`;
  }
  return n.toExponential(0);
}

/** Seconds as `17µs`, `1.2ms`, `340ms`, `2.5s`. */
export function seconds(s: number | undefined): string {
  if (s === undefined) return '-';
  for (const [unit, by] of [
    ['ns', 1e-9],
    ['µs', 1e-6],
    ['ms', 1e-3],
  ] as const) {
    const m = s / by;
    if (m < 999.5) return `${m < 9.95 && by > 1e-9 ? m.toFixed(1) : Math.round(m)}${unit}`;
  }
  return `${s < 9.95 ? s.toFixed(1) : Math.round(s)}s`;
}

const bars = ' ▁▂▃▄▅▆▇█';

/** Values as bars, the highest full; the newest `width` of them. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.slice(-width);
  const most = Math.max(...shown, 0);
  return shown.map((v) => (v <= 0 || most === 0 ? bars[0]! : bars[Math.max(1, Math.round((v / most) * 8))]!)).join('');
}
