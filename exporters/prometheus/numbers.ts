/**
 * Numbers as text, straight into a buffer.
 */

/** Bytes that the longest number takes: `-1.7976931348623157e+308`. */
export const maxNumberBytes = 25;

/** Writes a value as both text formats spell it and returns the position after it. */
export function writeNumber(buf: Buffer, pos: number, v: number): number {
  if (v >= 0 && v <= 0xffffffff && v === Math.floor(v)) return writeUint32(buf, pos, v);
  return writeOther(buf, pos, v);
}

function writeOther(buf: Buffer, pos: number, v: number): number {
  if (v > 0xffffffff && v <= Number.MAX_SAFE_INTEGER && v === Math.floor(v)) {
    const high = Math.floor(v / 1e9);
    const end = writeUint32(buf, pos, high);
    return writeNineDigits(buf, end, v - high * 1e9);
  }
  if (v < 0) {
    buf[pos] = 45;
    return v >= -0xffffffff && v === Math.ceil(v) ? writeUint32(buf, pos + 1, -v) : writeText(buf, pos, v);
  }
  if (v >= 1e-6 && v < 0xffffffff) {
    const end = writeDecimal(buf, pos, v);
    if (end > 0) return end;
  }
  return writeText(buf, pos, v);
}

function writeText(buf: Buffer, pos: number, v: number): number {
  return pos + buf.write(numberText(v), pos, 'latin1');
}

/**
 * A number with up to nine decimals, such as seconds counted in nanoseconds: several times as fast as the general case. A decimal of at
 * most 15 digits that rounds to `v` is the shortest text of `v`, since no two such decimals round to the same number.
 *
 * @returns the position after it, or 0 when `v` has more decimals or digits.
 */
function writeDecimal(buf: Buffer, pos: number, v: number): number {
  let power = 10;
  for (let decimals = 1; decimals <= 9; decimals++, power *= 10) {
    const scaled = Math.round(v * power);
    if (scaled / power !== v) continue;
    if (scaled >= 1e15) return 0;
    const whole = Math.floor(v);
    let rest = scaled - whole * power;
    const point = writeUint32(buf, pos, whole);
    buf[point] = 46;
    for (let at = point + decimals; at > point; at--) {
      const q = Math.floor(rest / 10);
      buf[at] = 48 + (rest - q * 10);
      rest = q;
    }
    return point + 1 + decimals;
  }
  return 0;
}

/** NaN and infinities as Prometheus spells them, all else as JavaScript does (shortest text that reads back the same). */
export function numberText(v: number): string {
  if (v === Number.POSITIVE_INFINITY) return '+Inf';
  if (v === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(v);
}

function writeUint32(buf: Buffer, pos: number, v: number): number {
  if (v < 10) {
    buf[pos] = 48 + v;
    return pos + 1;
  }
  let digits = 2;
  for (let bound = 100; digits < 10 && v >= bound; bound *= 10) digits++;
  let at = pos + digits;
  let rest = v >>> 0;
  while (at > pos) {
    const q = (rest / 10) >>> 0;
    buf[--at] = 48 + (rest - q * 10);
    rest = q;
  }
  return pos + digits;
}

function writeNineDigits(buf: Buffer, pos: number, v: number): number {
  let rest = v >>> 0;
  for (let at = pos + 8; at >= pos; at--) {
    const q = (rest / 10) >>> 0;
    buf[at] = 48 + (rest - q * 10);
    rest = q;
  }
  return pos + 9;
}

/**
 * A bucket's bound as the value of `le`: what Go's `%g` prints, with `.0` on whole numbers. Prometheus makes the same text itself of
 * bounds that it gets as protobuf, and version 3 of all others: a series keeps its name whatever the format of the scrape.
 */
export function boundText(v: number): string {
  if (v === Number.POSITIVE_INFINITY) return '+Inf';
  const [mantissa = '', exponentText = '0'] = v.toExponential().split('e');
  const exponent = Number(exponentText);
  // For shortest digits Go chooses the exponent form below 1e-4 and from 1e6 on.
  if (exponent < -4 || exponent >= 6) {
    const sign = exponent < 0 ? '-' : '+';
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const text = String(v);
  return text.includes('.') ? text : `${text}.0`;
}
