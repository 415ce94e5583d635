import type { ProcRoot } from '../../host/proc-root.ts';

/** include/uapi/linux/route.h: the route is usable; it is one that refuses. */
const RTF_UP = 0x0001;
const RTF_REJECT = 0x0200;

const nameBytes = 16;
/** Room in the map skl_names. */
export const maxNames = 16;

/** Devices of default routes in a table as /proc/net/route (IPv4) prints it. */
export function defaultRoutes4(text: string): string[] {
  const out: string[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [device, destination, , flags, , , , mask] = line.split('\t');
    if (device === undefined || destination !== '00000000' || mask !== '00000000') continue;
    if (usable(flags)) out.push(device.trim());
  }
  return out;
}

/** Devices of default routes in a table as /proc/net/ipv6_route prints it. */
export function defaultRoutes6(text: string): string[] {
  const out: string[] = [];
  for (const line of text.split('\n')) {
    const [destination, length, , , , , , , flags, device] = line.trim().split(/\s+/);
    if (device === undefined || device === 'lo' || length !== '00' || !/^0{32}$/.test(destination ?? '')) continue;
    if (usable(flags)) out.push(device);
  }
  return out;
}

function usable(flags: string | undefined): boolean {
  const bits = Number.parseInt(flags ?? '', 16);
  return (bits & RTF_UP) !== 0 && (bits & RTF_REJECT) === 0;
}

/** A process in the node's own namespace: pid 1, or kthreadd where pid 1 is not ours to look at, else this one. */
function nodeProcess(root: ProcRoot): number | 'self' {
  if (root.readlink(root.proc(1, 'ns/net')) !== undefined) return 1;
  const second = root.tryReadText(root.proc(2, 'comm'))?.trim();
  return second === 'kthreadd' && root.readlink(root.proc(2, 'ns/net')) !== undefined ? 2 : 'self';
}

/** Inode of the node's own network namespace; 0 = not to be seen. */
export function nodeNetns(root: ProcRoot): number {
  return root.netnsInode(root.proc(nodeProcess(root), 'ns/net')) ?? 0;
}

/** Devices of the node's default routes of both IP versions, each once. */
export function defaultRouteDevices(root: ProcRoot): string[] {
  const process = nodeProcess(root);
  const v4 = defaultRoutes4(root.tryReadText(root.proc(process, 'net/route')) ?? '');
  const v6 = defaultRoutes6(root.tryReadText(root.proc(process, 'net/ipv6_route')) ?? '');
  return [...new Set([...v4, ...v6])].sort();
}

/** `eth0`, `prefix*`, several with commas in between; empty = the devices of the default routes. */
export function parsePatterns(text: string): string[] {
  return text
    .split(',')
    .map((p) => p.trim())
    .filter((p) => p !== '');
}

/** Why this is no pattern of interface names; undefined when it is one. */
export function patternProblem(text: string): string | undefined {
  const patterns = parsePatterns(text);
  if (patterns.length > maxNames) return `at most ${maxNames} names`;
  const bad = patterns.find((p) => !/^(?:[^\s/*]{1,15}|[^\s/*]{0,14}\*)$/.test(p) || Buffer.byteLength(p) > 15);
  return bad === undefined
    ? undefined
    : `'${bad}' is no interface name of at most 15 bytes, with or without a * at its end`;
}

/**
 * One value of the map skl_names: the name as two words, the bits that must agree (the closing 0 belongs to a whole name, and nothing after
 * it: the kernel leaves old bytes there), and whether the slot is in use.
 */
export function encodePattern(pattern: string): Buffer {
  const prefix = pattern.endsWith('*');
  const name = Buffer.from(prefix ? pattern.slice(0, -1) : pattern).subarray(0, nameBytes - 1);
  const out = Buffer.alloc(2 * nameBytes + 8);
  name.copy(out);
  out.fill(0xff, nameBytes, nameBytes + name.length + (prefix ? 0 : 1));
  out.writeUInt32LE(1, 2 * nameBytes);
  return out;
}
