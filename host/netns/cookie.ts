import { closeSync } from 'node:fs';
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
 * @returns undefined when it is gone, may not be entered, or the kernel is older than 5.14
 */
export function netnsCookie(path: string): number | undefined {
  try {
    return inNetns(path, () => {
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
    });
  } catch {
    return undefined;
  }
}
