/**
 * Sockets of a network namespace over NETLINK_SOCK_DIAG (sock_diag(7)); numbers from include/uapi/linux/inet_diag.h and tcp.h.
 * Far cheaper than /proc/net/tcp: binary, filtered by state in the kernel, with struct tcp_info on demand.
 */
import { type NetlinkMessage, netlinkRequest } from './message.ts';
import type { DumpOptions, DumpOutcome, NetlinkSocket } from './socket.ts';
import { TcpInfo } from './tcp-info.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;

/** TCP states (include/net/tcp_states.h) by number, as OpenTelemetry's `network.connection.state` writes them. */
export const tcpStates: readonly string[] = [
  'unknown',
  'established',
  'syn_sent',
  'syn_received',
  'fin_wait_1',
  'fin_wait_2',
  'time_wait',
  'closed',
  'close_wait',
  'last_ack',
  'listen',
  'closing',
  // TCP_NEW_SYN_RECV: a half-open connection that has no socket yet; shown by the kernel as syn_received.
  'new_syn_received',
];
export const TCP_ESTABLISHED = 1;
export const TCP_LISTEN = 10;

/** Attributes that may be asked for: bit `1 << (attribute - 1)` of `extensions`. */
export const DiagExtension = { memInfo: 1 << 0, info: 1 << 1, congestion: 1 << 3, skMemInfo: 1 << 6 } as const;

/** Bit mask of states: `stateMask(TCP_ESTABLISHED)`. */
export function stateMask(...states: readonly number[]): number {
  return states.reduce((mask, state) => mask | (1 << state), 0);
}

export const allStates = 0xffff_ffff;

export interface SocketQuery {
  /** AF_INET, AF_INET6, or 0 for both in one walk of the kernel's tables (TCP only: half the cost of two). */
  readonly family: number;
  readonly protocol: number;
  /** Default: all. */
  readonly states?: number;
  /** {@link DiagExtension} bits. */
  readonly extensions?: number;
}

const TCPDIAG_GETSOCK = 18;
const SOCK_DIAG_BY_FAMILY = 20;
/** Bytes of `struct inet_diag_msg`. */
const messageBytes = 72;
const INET_DIAG_MEMINFO = 1;
const INET_DIAG_INFO = 2;
const INET_DIAG_CONG = 4;
const INET_DIAG_SKMEMINFO = 7;

/** Builds the request of {@link dumpSockets}. */
export function socketRequest(query: SocketQuery): Buffer {
  const states = query.states ?? allStates;
  const extensions = query.extensions ?? 0;
  if (query.family === 0 && query.protocol === IPPROTO_TCP) {
    // struct inet_diag_req, the older request: the kernel answers it for both families (inet_diag_dump_compat()).
    const body = Buffer.alloc(60);
    body[3] = extensions;
    body.writeUInt32LE(states >>> 0, 52);
    return netlinkRequest(TCPDIAG_GETSOCK, 0, body);
  }
  if (query.family === 0) throw new RangeError('Both families in one dump is possible for TCP only.');
  // struct inet_diag_req_v2
  const body = Buffer.alloc(56);
  body[0] = query.family;
  body[1] = query.protocol;
  body[2] = extensions;
  body.writeUInt32LE(states >>> 0, 4);
  return netlinkRequest(SOCK_DIAG_BY_FAMILY, 0, body);
}

/** See {@link SocketRecord.remoteKey}. */
export type AddressKey = number | string;

/**
 * One socket of a dump, read in place: getters over the kernel's bytes. The same object is given for every socket: read what you
 * need, keep nothing.
 */
export class SocketRecord {
  #view: DataView = new DataView(new ArrayBuffer(0));
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  #memory = 0;
  #congestion = 0;
  #congestionEnd = 0;
  #dropsAt = 0;
  readonly #info = new TcpInfo();
  #hasInfo = false;

  /** Stands on a message; false when it is too short or its attributes lie. */
  load(message: NetlinkMessage): boolean {
    const { view, start, end } = message;
    if (end - start < messageBytes) return false;
    this.#view = view;
    this.#buffer = message.buffer;
    this.#at = start;
    this.#memory = 0;
    this.#congestion = 0;
    this.#dropsAt = 0;
    this.#hasInfo = false;
    return this.#loadAttributes(view, start + messageBytes, end);
  }

  #loadAttributes(view: DataView, start: number, end: number): boolean {
    let at = start;
    while (end - at >= 4) {
      const length = view.getUint16(at, true);
      if (length < 4 || length > end - at) return false;
      const type = view.getUint16(at + 2, true);
      if (type === INET_DIAG_INFO) {
        this.#info.load(view, at + 4, at + length);
        this.#hasInfo = true;
      } else if (type === INET_DIAG_MEMINFO && length >= 20) this.#memory = at + 4;
      else if (type === INET_DIAG_CONG) {
        this.#congestion = at + 4;
        this.#congestionEnd = at + length;
      } else if (type === INET_DIAG_SKMEMINFO && length >= 4 + 36) this.#dropsAt = at + 4 + 32;
      at += (length + 3) & ~3;
    }
    return true;
  }

  /** AF_INET or AF_INET6. */
  get family(): number {
    return this.#view.getUint8(this.#at);
  }
  /** Index into {@link tcpStates}. For UDP: 7 unconnected, 1 connected. */
  get state(): number {
    return this.#view.getUint8(this.#at + 1);
  }
  /** 0 none, 1 retransmit, 2 keepalive (and others), 3 time-wait, 4 zero-window probe. */
  get timer(): number {
    return this.#view.getUint8(this.#at + 2);
  }
  /** Unanswered retransmissions or probes now. */
  get retransmits(): number {
    return this.#view.getUint8(this.#at + 3);
  }
  get localPort(): number {
    return this.#view.getUint16(this.#at + 4, false);
  }
  get remotePort(): number {
    return this.#view.getUint16(this.#at + 6, false);
  }
  /** Local address as text (`10.0.0.1`, `fe80::1`); IPv4-mapped ones as IPv4. Allocates. */
  localAddress(): string {
    return addressText(this.#view, this.#at + 8, this.family);
  }
  remoteAddress(): string {
    return addressText(this.#view, this.#at + 24, this.family);
  }
  /**
   * The remote address as a map key: IPv4 (mapped ones too) as a number of 32 bits, which V8 keeps without an object, IPv6 as 16 latin1 characters.
   * Cheaper than text; {@link addressOfKey} turns it into text.
   */
  remoteKey(): AddressKey {
    const at = this.#at + 24;
    const view = this.#view;
    if (this.family === AF_INET) return view.getInt32(at, false);
    const mapped =
      view.getUint32(at + 8, false) === 0xffff && view.getUint32(at, true) === 0 && view.getUint32(at + 4, true) === 0;
    return mapped ? view.getInt32(at + 12, false) : this.#buffer.toString('latin1', at, at + 16);
  }
  /** Device the socket is bound to, 0 for none. */
  get interfaceIndex(): number {
    return this.#view.getUint32(this.#at + 40, true);
  }
  /** Kernel-wide identity of the socket while it lives, 64 bits. */
  get cookie(): bigint {
    return this.#view.getBigUint64(this.#at + 44, true);
  }
  /** Low half of {@link cookie}; with {@link cookieHigh} a key that allocates nothing. */
  get cookieLow(): number {
    return this.#view.getUint32(this.#at + 44, true);
  }
  get cookieHigh(): number {
    return this.#view.getUint32(this.#at + 48, true);
  }
  /** Milliseconds until `timer` fires. */
  get expiresMs(): number {
    return this.#view.getUint32(this.#at + 52, true);
  }
  /** Unread bytes; on a listener, connections waiting to be accepted. */
  get receiveQueue(): number {
    return this.#view.getUint32(this.#at + 56, true);
  }
  /** Unacknowledged and unsent bytes; on a listener, the backlog's limit. */
  get sendQueue(): number {
    return this.#view.getUint32(this.#at + 60, true);
  }
  get uid(): number {
    return this.#view.getUint32(this.#at + 64, true);
  }
  /** Inode number as in /proc/PID/fd (`socket:[INODE]`); 0 when no process holds it. */
  get inode(): number {
    return this.#view.getUint32(this.#at + 68, true);
  }
  /** struct tcp_info, when `DiagExtension.info` was asked for and this socket has one (time-wait has none). */
  get info(): TcpInfo | undefined {
    return this.#hasInfo ? this.#info : undefined;
  }
  /** Bytes of receive memory in use (`DiagExtension.memInfo`), NaN when not asked for. */
  get receiveMemory(): number {
    return this.#memory === 0 ? Number.NaN : this.#view.getUint32(this.#memory, true);
  }
  /** Bytes of send memory queued. */
  get sendMemory(): number {
    return this.#memory === 0 ? Number.NaN : this.#view.getUint32(this.#memory + 4, true);
  }
  /** Packets this socket dropped (`DiagExtension.skMemInfo`), NaN when not asked for. */
  get drops(): number {
    return this.#dropsAt === 0 ? Number.NaN : this.#view.getUint32(this.#dropsAt, true);
  }
  /** Congestion control (`DiagExtension.congestion`); empty when not asked for. Allocates. */
  congestionControl(): string {
    if (this.#congestion === 0) return '';
    const text = this.#buffer.toString('latin1', this.#congestion, this.#congestionEnd);
    const nul = text.indexOf('\0');
    return nul < 0 ? text : text.slice(0, nul);
  }
}

const record = new SocketRecord();

/**
 * Visits every socket that matches. The kernel walks its whole table for each dump, whatever the namespace: ask once, for all you need.
 *
 * @returns the dump's outcome; records whose lengths lied are in `malformed` and were not visited.
 * @throws NetlinkError ENOENT when the kernel has no diag module for the protocol.
 */
export async function dumpSockets(
  socket: NetlinkSocket,
  query: SocketQuery,
  visit: (socket: SocketRecord) => void,
  options?: DumpOptions,
): Promise<DumpOutcome> {
  let short = 0;
  const outcome = await socket.dump(
    socketRequest(query),
    (message) => {
      if (record.load(message)) visit(record);
      else short++;
    },
    options,
  );
  return short === 0 ? outcome : { ...outcome, malformed: outcome.malformed + short };
}

function addressText(view: DataView, at: number, family: number): string {
  if (family === AF_INET) return ipv4Text(view, at);
  return ipv6Text(view, at);
}

/** Text of a {@link SocketRecord.remoteKey}. */
export function addressOfKey(key: AddressKey): string {
  if (typeof key === 'string') {
    const bytes = Buffer.from(key, 'latin1');
    return ipv6Text(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  }
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, key, false);
  return ipv4Text(view, 0);
}

/** 4 bytes as `10.0.0.1`. */
export function ipv4Text(view: DataView, at: number): string {
  return `${view.getUint8(at)}.${view.getUint8(at + 1)}.${view.getUint8(at + 2)}.${view.getUint8(at + 3)}`;
}

/** 16 bytes as RFC 5952 text; IPv4-mapped ones as IPv4. */
export function ipv6Text(view: DataView, at: number): string {
  const words: number[] = [];
  for (let i = 0; i < 8; i++) words.push(view.getUint16(at + 2 * i, false));
  if (words.slice(0, 5).every((w) => w === 0) && words[5] === 0xffff) return ipv4Text(view, at + 12);
  const [start, length] = longestZeroRun(words);
  const hex = (from: number, to: number) =>
    words
      .slice(from, to)
      .map((w) => w.toString(16))
      .join(':');
  return length < 2 ? hex(0, 8) : `${hex(0, start)}::${hex(start + length, 8)}`;
}

/** The first longest run of zero words: what `::` stands for. */
function longestZeroRun(words: readonly number[]): readonly [start: number, length: number] {
  let best = 0;
  let bestLength = 0;
  for (let i = 0; i < words.length; ) {
    let j = i;
    while (j < words.length && words[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    i = Math.max(j, i + 1);
  }
  return [best, bestLength];
}
