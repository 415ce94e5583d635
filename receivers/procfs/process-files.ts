import { eachLine, NEWLINE, parseNumber, type Reject, SPACE, startsWith } from './lines.ts';

/** Parsers of the small files of one process or one cgroup; see proc_pid_io(5), proc_pid_limits(5), proc_pid_stat(5), cgroups(7). */

const COLON = 0x3a;

/** Counters of `/proc/PID/io`. */
export interface ProcessIo {
  readonly rchar: number;
  readonly wchar: number;
  readonly syscr: number;
  readonly syscw: number;
  readonly readBytes: number;
  readonly writeBytes: number;
}

/** In the order of the kernel (do_io_accounting() in fs/proc/base.c). */
const ioNames = ['rchar', 'wchar', 'syscr', 'syscw', 'read_bytes', 'write_bytes'].map((name) =>
  Buffer.from(`${name}:`),
);

/** `rchar: 7141` and so on. Undefined when a line is missing (a kernel without CONFIG_TASK_XACCT prints nothing). */
export function parseIo(text: Buffer, reject: Reject): ProcessIo | undefined {
  const found = ioNames.map(() => -1);
  let due = 0;
  eachLine(text, reject, (at, end) => {
    let colon = at;
    while (colon < end && text[colon] !== COLON) colon++;
    if (colon <= at || colon + 2 > end) return reject('bad_line');
    const value = parseNumber(text, colon + 2, end);
    if (value < 0) return reject('bad_number');
    const field = startsWith(text, at, ioNames[due] ?? noName)
      ? due
      : ioNames.findIndex((name) => startsWith(text, at, name));
    if (field < 0) return;
    found[field] = value;
    due = field + 1;
  });
  if (found.some((v) => v < 0)) return undefined;
  const [rchar, wchar, syscr, syscw, readBytes, writeBytes] = found as [number, number, number, number, number, number];
  return { rchar, wchar, syscr, syscw, readBytes, writeBytes };
}

/** Stands nowhere. */
const noName = Buffer.from(':');

const maxOpenFiles = Buffer.from('Max open files');

/** Soft limit of `Max open files` in `/proc/PID/limits`; Infinity for `unlimited`, undefined when the line is not there. */
export function parseOpenFilesLimit(text: Buffer): number | undefined {
  const at = text.indexOf(maxOpenFiles);
  if (at < 0) return undefined;
  let from = at + maxOpenFiles.length;
  while (text[from] === SPACE) from++;
  const end = text.indexOf(SPACE, from);
  if (end < 0) return undefined;
  if (text.toString('latin1', from, end) === 'unlimited') return Number.POSITIVE_INFINITY;
  const limit = parseNumber(text, from, end);
  return limit < 0 ? undefined : limit;
}

const CLOSE = 0x29;

/** Parent's pid: field 4 of `/proc/PID/stat`, behind the name in parentheses. Undefined when the text is not such a line. */
export function parseParentPid(text: Buffer): number | undefined {
  const close = text.lastIndexOf(CLOSE);
  if (close < 0) return undefined;
  const from = close + 4;
  const end = text.indexOf(SPACE, from);
  const pid = end < 0 ? -1 : parseNumber(text, from, end);
  return pid < 0 ? undefined : pid;
}

/** Second number of `/proc/PID/task/TID/schedstat`: time on a run queue, ns. Undefined when the text is not such a line. */
export function parseRunDelayNs(text: Buffer): number | undefined {
  const from = text.indexOf(SPACE) + 1;
  const end = from === 0 ? -1 : text.indexOf(SPACE, from);
  const n = end < 0 ? -1 : parseNumber(text, from, end);
  return n < 0 ? undefined : n;
}

/** `key value` lines, as of cpu.stat. */
export function parseKeyed(text: Buffer, reject: Reject): Map<string, number> {
  const found = new Map<string, number>();
  eachLine(text, reject, (at, end) => {
    const space = text.indexOf(SPACE, at);
    if (space <= at || space >= end) return reject('bad_line');
    const value = parseNumber(text, space + 1, end);
    if (value < 0) return reject('bad_number');
    found.set(text.toString('latin1', at, space), value);
  });
  return found;
}

const total = Buffer.from(' total=');

/** `total=` of the lines `some …` and `full …` of a pressure file, microseconds (Documentation/accounting/psi.rst). */
export function parsePressure(text: Buffer, reject: Reject): { some?: number; full?: number } {
  const out: { some?: number; full?: number } = {};
  eachLine(text, reject, (at, end) => {
    const kind = text.toString('latin1', at, at + 5);
    const from = text.indexOf(total, at) + total.length;
    if ((kind !== 'some ' && kind !== 'full ') || from < total.length || from > end) return reject('bad_line');
    const us = parseNumber(text, from, end);
    if (us < 0) return reject('bad_number');
    out[kind === 'some ' ? 'some' : 'full'] = us;
  });
  return out;
}

/** A file that is one number and a newline, as cpuacct.usage. Undefined when it is not. */
export function parseNumberFile(text: Buffer): number | undefined {
  const n = text.length < 2 || text[text.length - 1] !== NEWLINE ? -1 : parseNumber(text, 0, text.length - 1);
  return n < 0 ? undefined : n;
}
