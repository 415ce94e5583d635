import { readFileSync } from 'node:fs';
import { NetlinkMessage } from './message.ts';

/** Recorded netlink answers, for tests (see test/netlink/record.ts): each datagram behind its length. */
export function readCapture(path: string | URL): Buffer[] {
  const file = readFileSync(path);
  const out: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at);
    out.push(file.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return out;
}

/** Walks datagrams as a socket does. @returns how many were malformed. */
export function walk(datagrams: readonly Uint8Array[], visit: (message: NetlinkMessage) => void): number {
  let malformed = 0;
  for (const datagram of datagrams) {
    // A copy of its own: reading beyond the end must not find other bytes.
    const message = new NetlinkMessage(Buffer.from(Uint8Array.from(datagram).buffer)).reset(datagram.length);
    while (message.next()) visit(message);
    if (message.malformed) malformed++;
  }
  return malformed;
}

/**
 * Feeds a decoder everything that can go wrong with a capture: each datagram cut at every byte (with the header's length as it was and
 * made to fit), and every byte of it replaced by 0, 1, 0x7f, 0xff. The decoder must not throw.
 */
export function torture(datagrams: readonly Buffer[], visit: (message: NetlinkMessage) => void): void {
  for (const datagram of datagrams) {
    for (let n = 0; n <= datagram.length; n++) {
      const cut = Buffer.from(datagram.subarray(0, n));
      walk([cut], visit);
      if (n >= 16) {
        cut.writeUInt32LE(n, 0);
        walk([cut], visit);
      }
    }
    for (let at = 0; at < datagram.length; at++) {
      for (const byte of [0, 1, 0x7f, 0xff]) {
        const changed = Buffer.from(datagram);
        changed[at] = byte;
        walk([changed], visit);
      }
    }
  }
}
