/**
 * Reading of the kernel's text files byte by byte. A line counts only with its newline: the kernel writes whole lines, so what has none was
 * cut, and half a number must not pass for a number.
 */

/** Why a line, row or file was not used. A closed set: the values of the `reason` attribute of the rejected counter. */
export type RejectReason =
  | 'truncated' // the file ends in the middle of a line
  | 'bad_line' // not the shape of a line of this file
  | 'bad_number' // a number was due and something else stands there
  | 'columns' // fewer or more values than the header has names
  | 'duplicate' // the row, interface or CPU was there before
  | 'too_many'; // more rows, names or interfaces than are plausible

/** Told about everything that is not used. */
export type Reject = (reason: RejectReason) => void;

export const NEWLINE = 0x0a;
export const SPACE = 0x20;
const TAB = 0x09;
const MINUS = 0x2d;

const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;

/**
 * Parses the blank-separated decimal numbers of `[at, end)` into `into`.
 *
 * @returns how many there are (also when they did not all fit), -1 when something else than a number stands there. Above 2^53 the last digits
 *          are rounded: a float64 has no more.
 */
export function parseNumbers(text: Buffer, at: number, end: number, into: Float64Array): number {
  let count = 0;
  let i = at;
  for (;;) {
    while (i < end && isBlank(text[i])) i++;
    if (i >= end) return count;
    const negative = text[i] === MINUS;
    if (negative) i++;
    const first = i;
    let n = 0;
    for (; i < end; i++) {
      const digit = (text[i] as number) - 0x30;
      if (digit < 0 || digit > 9) break;
      n = n * 10 + digit;
    }
    if (i === first || (i < end && !isBlank(text[i]))) return -1;
    if (count < into.length) into[count] = negative ? -n : n;
    count++;
  }
}

/** As {@link parseNumbers}, for unsigned hexadecimal numbers without a prefix. */
export function parseHexNumbers(text: Buffer, at: number, end: number, into: Float64Array): number {
  let count = 0;
  let i = at;
  for (;;) {
    while (i < end && isBlank(text[i])) i++;
    if (i >= end) return count;
    const first = i;
    let n = 0;
    for (; i < end; i++) {
      const digit = hexDigit(text[i] as number);
      if (digit < 0) break;
      n = n * 16 + digit;
    }
    if (i === first || (i < end && !isBlank(text[i]))) return -1;
    if (count < into.length) into[count] = n;
    count++;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The unsigned decimal number that is all of `[at, end)`; -1 when it is not one. */
export function parseNumber(text: Buffer, at: number, end: number): number {
  let n = 0;
  for (let i = at; i < end; i++) {
    const digit = (text[i] as number) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    n = n * 10 + digit;
  }
  return end > at ? n : -1;
}

/** True when `name` stands at `at`. */
export function startsWith(text: Buffer, at: number, name: Buffer): boolean {
  if (at + name.length > text.length) return false;
  for (let i = 0; i < name.length; i++) if (text[at + i] !== name[i]) return false;
  return true;
}

/**
 * Visits each complete line as `[start, end)`, newline not included.
 * A last line without a newline is rejected as truncated.
 */
export function eachLine(text: Buffer, reject: Reject, visit: (start: number, end: number) => void): void {
  let at = 0;
  while (at < text.length) {
    // The lines are short: Buffer.indexOf() would cost more to call than this takes.
    let end = at;
    while (end < text.length && text[end] !== NEWLINE) end++;
    if (end === text.length) {
      reject('truncated');
      return;
    }
    visit(at, end);
    at = end + 1;
  }
}
