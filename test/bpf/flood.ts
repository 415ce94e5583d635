/**
 * Makes packets that the kernel drops, faster than any process can send: `node test/bpf/flood.ts COUNT RATE` receives COUNT UDP packets whose IP
 * checksum is wrong on `lo` of the network namespace it runs in, at most RATE a second (0 = as fast as the kernel can). Each is one
 * skb:kfree_skb with the reason IP_CSUM. Prints the seconds it took. Needs Linux 5.18.
 */
import { SelfTest } from './selftest.ts';

/** Most frames in one system call. */
const atOnce = 65_536;
/** Calls a second: each makes and frees a pool of pages, some 20 ms of the kernel's; fewer would make bursts of a steady rate. */
const callsPerSecond = 10;

/** Ethernet, IPv4 without checksum, UDP from port 7 to 9, no data. */
function frameWithoutChecksum(): Buffer {
  const frame = Buffer.alloc(14 + 20 + 8);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, 14);
  frame.writeUInt16BE(28, 16);
  frame.writeUInt8(64, 22);
  frame.writeUInt8(17, 23);
  frame.set([192, 0, 2, 1], 26);
  frame.set([192, 0, 2, 2], 30);
  frame.writeUInt16BE(7, 34);
  frame.writeUInt16BE(9, 36);
  frame.writeUInt16BE(8, 38);
  return frame;
}

const [count = 0, rate = 0] = process.argv.slice(2).map(Number);
using self = await SelfTest.load();
const program = self.loaded.program('skl_pass');
const frame = frameWithoutChecksum();
/** `lo` is the first interface of every namespace. */
const loopback = 1;
const asleep = new Int32Array(new SharedArrayBuffer(4));
const chunk = rate > 0 ? Math.min(atOnce, Math.ceil(rate / callsPerSecond)) : count;
const began = performance.now();
for (let done = 0; done < count; ) {
  const n = Math.min(chunk, count - done);
  program.receiveFrames(frame, loopback, n);
  done += n;
  const earlyMs = rate > 0 ? (done / rate) * 1000 - (performance.now() - began) : 0;
  if (earlyMs > 0) Atomics.wait(asleep, 0, 0, earlyMs);
}
console.log(((performance.now() - began) / 1000).toFixed(3));
