import { closeSync, fstatSync, openSync } from 'node:fs';
import { libc } from '../ffi/libc.ts';
import { inNetns } from './enter.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
/** include/uapi/asm-generic/socket.h, since v5.14 (e8b9eab99232 "net: retrieve netns cookie via getsocketopt"). */
const SO_NETNS_COOKIE = 71;

/**
 * The cookie of a network namespace: a number the kernel never gives twice while the machine is up, whereas inode numbers of ended
 * namespaces are used again at once. Enters the namespace for a moment (some 10 µs).
 *
 * @param path of a namespace file (`/proc/PID/ns/net`, `/run/netns/NAME`)
 * @param inode when given: the namespace must have it
 * @returns undefined when it is gone, is another one, may not be entered, or the kernel is older than 5.14
 */
export function netnsCookie(path: string, inode?: number): number | undefined {
  try {
    const namespace = openSync(path, 'r');
    try {
      if (inode !== undefined && fstatSync(namespace).ino !== inode) return undefined;
      return inNetns(namespace, cookieHere);
    } finally {
      closeSync(namespace);
    }
  } catch {
    return undefined;
  }
}

function cookieHere(): number | undefined {
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    const value = Buffer.alloc(8);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(8);
    const failed = libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, length) < 0;
    return failed ? undefined : Number(value.readBigUInt64LE());
  } finally {
    closeSync(fd);
  }
}

/** A namespace and who holds it, as `NetnsInfo` says it. */
export interface NetnsHolder {
  readonly netns: number;
  readonly path: string;
  readonly pid?: number | undefined;
  readonly starttime?: number | undefined;
}

/**
 * Cookies of living namespaces. Asked once for as long as the same process holds the namespace; one that only a name holds is asked
 * each time.
 */
export class NetnsCookies {
  readonly #ask: (path: string, inode: number) => number | undefined;
  readonly #known = new Map<number, { readonly holder: string; readonly cookie: number }>();

  /** @param ask for tests */
  constructor(ask: (path: string, inode: number) => number | undefined = netnsCookie) {
    this.#ask = ask;
  }

  /** @param info from a scan; a namespace that was replaced since may give undefined or the new one's cookie */
  of(info: NetnsHolder): number | undefined {
    const holder = info.pid === undefined ? undefined : `${info.pid}/${info.starttime}`;
    const known = this.#known.get(info.netns);
    if (known !== undefined && known.holder === holder) return known.cookie;
    return this.ask(info);
  }

  /** As {@link of}, from the kernel now. */
  ask(info: NetnsHolder): number | undefined {
    const cookie = this.#ask(info.path, info.netns);
    this.#known.delete(info.netns);
    if (cookie !== undefined && info.pid !== undefined) {
      this.#known.set(info.netns, { holder: `${info.pid}/${info.starttime}`, cookie });
    }
    return cookie;
  }

  /** Forgets namespaces that are not among these. */
  keepOnly(alive: ReadonlyMap<number, unknown>): void {
    for (const netns of this.#known.keys()) if (!alive.has(netns)) this.#known.delete(netns);
  }
}
