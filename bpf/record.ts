/**
 * What the generated decoders stand on: how bytes written by a BPF program become values. Numbers of 64 bits become doubles
 * (exact below 2^53: counts, nanoseconds of uptime for 104 days, ids); kernel addresses become hexadecimal text.
 */

/** Views over the same memory; offsets are bytes from its start, which is aligned to 8. */
export interface View {
  readonly u8: Buffer;
  readonly u32: Uint32Array;
  readonly data: DataView;
}

/** Decoder of one C struct. */
export interface Codec<T> {
  readonly name: string;
  /** `sizeof`, bytes. */
  readonly size: number;
  /** Where each field starts, bytes; nested fields as `head.netns`. */
  readonly offsets: Readonly<Record<string, number>>;
  decode(view: View, at: number): T;
}

/** Both ends of a packet or connection. `family` 0 = none known: the addresses are then empty. */
export interface FlowTuple {
  readonly family: 0 | 4 | 6;
  /** IPPROTO_* number. */
  readonly protocol: number;
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
}

/** Views over a buffer of its own (not one of Node's pooled slices, whose start may be unaligned). */
export function viewOf(buffer: Buffer): View {
  return {
    u8: buffer,
    u32: new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length >>> 2),
    data: new DataView(buffer.buffer, buffer.byteOffset, buffer.length),
  };
}

export function u64(view: View, at: number): number {
  const i = at >>> 2;
  return view.u32[i]! + view.u32[i + 1]! * 4294967296;
}

export function s64(view: View, at: number): number {
  const i = at >>> 2;
  return view.u32[i]! + (view.u32[i + 1]! | 0) * 4294967296;
}

/** `count` numbers of 64 bits. */
export function u64s(view: View, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => u64(view, at + 8 * i));
}

/** A kernel address as 16 hexadecimal digits; empty for 0. */
export function kaddr(view: View, at: number): string {
  const i = at >>> 2;
  const low = view.u32[i]!;
  const high = view.u32[i + 1]!;
  if (low === 0 && high === 0) return '';
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** Addresses up to the first 0. */
export function kaddrs(view: View, at: number, count: number): string[] {
  const out: string[] = [];
  for (let i = 0; i < count; i++) {
    const a = kaddr(view, at + 8 * i);
    if (a === '') break;
    out.push(a);
  }
  return out;
}

const interned = new Map<string, string>();

/** A C string in a field of `size` bytes. */
export function text(view: View, at: number, size: number): string {
  const end = view.u8.indexOf(0, at);
  const raw = view.u8.toString('latin1', at, end < 0 || end > at + size ? at + size : end);
  if (raw === '') return '';
  const known = interned.get(raw);
  if (known !== undefined) return known;
  // Names of processes may be any bytes; most are ASCII and need no second look.
  const value = /^[\x20-\x7e]*$/.test(raw)
    ? raw
    : Buffer.from(raw, 'latin1')
        .toString('utf8')
        .replace(/\p{Cc}/gu, '?');
  if (interned.size >= 4096) interned.clear();
  interned.set(raw, value);
  return value;
}

/** IPv4 address of four bytes. */
export function ipv4(view: View, at: number): string {
  const b = view.u8;
  return `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`;
}

/** IPv6 address of 16 bytes, as RFC 5952 writes it. */
export function ipv6(view: View, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => view.data.getUint16(at + 2 * i));
  let best = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > length) {
      best = i;
      length = n;
    }
    if (n > 0) i += n - 1;
  }
  const hex = groups.map((g) => g.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + length).join(':')}`;
}

/** struct skl_tuple. */
export function tuple(view: View, at: number): FlowTuple {
  const family = view.u8[at + 36]!;
  const ip = family === 4 ? ipv4 : family === 6 ? ipv6 : undefined;
  return {
    family: ip ? (family as 4 | 6) : 0,
    protocol: view.u8[at + 37]!,
    sourceAddress: ip?.(view, at) ?? '',
    sourcePort: view.data.getUint16(at + 32, true),
    destinationAddress: ip?.(view, at + 16) ?? '',
    destinationPort: view.data.getUint16(at + 34, true),
  };
}

/** Address of the bytes of a map key: the first four for family 4. */
export function addressText(bytes: readonly number[], family: number): string {
  const own = new Uint8Array(bytes);
  const view = viewOf(Buffer.from(own.buffer));
  return family === 4 ? ipv4(view, 0) : ipv6(view, 0);
}
