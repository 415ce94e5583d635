/** Numbers for people: three digits, one unit, and the same width in a column. */

const steps: readonly (readonly [number, string])[] = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];

/** `0`, `0.42`, `23`, `1.23k`. Whole numbers below 1000 are exact. */
export function count(n: number): string {
  const size = Math.abs(n);
  for (const [step, letter] of steps) if (size >= step * 0.9995) return `${digits(n / step)}${letter}`;
  return Number.isInteger(n) ? String(n) : digits(n);
}

/** A whole number with its thousands apart: `12 345`. */
export function exact(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** `1.2 kB/s` */
export function byteRate(perSecond: number): string {
  return perSecond === 0 ? '0' : `${unit(perSecond)}B/s`;
}

/** `64 MiB` */
export function bytes(n: number): string {
  for (const [step, name] of [
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (n >= step) return `${digits(n / step)} ${name}`;
  }
  return `${n} B`;
}

/** `1.95 ms`, from seconds. */
export function seconds(s: number): string {
  if (s === 0) return '0';
  if (s >= 100) return `${Math.round(s)} s`;
  if (s >= 0.9995) return `${digits(s)} s`;
  if (s >= 0.9995e-3) return `${digits(s * 1e3)} ms`;
  if (s >= 0.9995e-6) return `${digits(s * 1e6)} µs`;
  return `${digits(s * 1e9)} ns`;
}

/** Time of day with milliseconds, of this browser's zone. */
export function clock(ms: number, withMs = true): string {
  const d = new Date(ms);
  const two = (n: number) => String(n).padStart(2, '0');
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return withMs ? `${time}.${String(d.getMilliseconds()).padStart(3, '0')}` : time;
}

/** `5 min` */
export function span(ms: number): string {
  const s = Math.round(ms / 1000);
  return s >= 120 && s % 60 === 0 ? `${s / 60} min` : `${s} s`;
}

export function percent(ratio: number): string {
  return `${digits(ratio * 100)}\u202f%`;
}

function unit(n: number): string {
  for (const [step, letter] of steps) if (Math.abs(n) >= step * 0.9995) return `${digits(n / step)} ${letter}`;
  return `${digits(n)} `;
}

/** `23 packets dropped`, and `1 packet dropped`. */
export function happened(n: number, label: string): string {
  return `${count(n)} ${n === 1 ? label.replace(/s\b/, '') : label}`;
}

/** Three significant digits, no exponent, no trailing zeros after a point. */
function digits(n: number): string {
  const size = Math.abs(n);
  if (size === 0) return '0';
  if (size >= 99.95) return n.toFixed(0);
  const places = size >= 9.995 ? 1 : size >= 0.9995 ? 2 : Math.min(12, 1 - Math.floor(Math.log10(size)));
  return n.toFixed(places).replace(/\.?0+$/, '');
}
