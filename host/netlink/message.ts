/**
 * Netlink messages: headers, datagram walker, request builder. All numbers from include/uapi/linux/netlink.h; layout from
 * Documentation/userspace-api/netlink/intro.rst. Host byte order (little-endian on every machine this runs on).
 */

/** Netlink protocols (families) in use. */
export const NetlinkProtocol = { route: 0, sockDiag: 4, netfilter: 12, rdma: 20 } as const;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
/** NLM_F_ROOT | NLM_F_MATCH. */
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** On an error: the request is quoted without its payload. */
export const NLM_F_CAPPED = 0x100;
/** On an error or an end of dump: attributes with the kernel's explanation follow. */
export const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;
/** Types below are control messages. */
export const NLMSG_MIN_TYPE = 0x10;

/** Bytes of `struct nlmsghdr`. */
export const headerBytes = 16;

/** Lengths are padded to 4 bytes (NLMSG_ALIGN, NLA_ALIGN). */
export const align4 = (n: number): number => (n + 3) & ~3;

/**
 * A datagram read message by message, in place: `while (m.next()) …`. After `next()` the fields describe one message, whose payload is
 * `[start, end)` of {@link buffer}. One object is reused for every message: take what you need out of it, do not keep it.
 *
 * A length that is too short or reaches beyond the datagram ends the walk with {@link malformed} set; it never throws.
 */
export class NetlinkMessage {
  readonly buffer: Buffer;
  readonly view: DataView;
  type = 0;
  flags = 0;
  sequence = 0;
  /** Port id of the asking socket; 0 on multicast. */
  port = 0;
  start = 0;
  end = 0;
  malformed = false;
  #next = 0;
  #length = 0;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  }

  /** Starts over with a datagram of `length` bytes in the buffer. */
  reset(length: number): this {
    this.#next = 0;
    this.#length = Math.min(length, this.buffer.length);
    this.malformed = false;
    return this;
  }

  next(): boolean {
    const at = this.#next;
    if (at >= this.#length) return false;
    const left = this.#length - at;
    const length = left >= headerBytes ? this.view.getUint32(at, true) : 0;
    if (length < headerBytes || length > left) {
      this.malformed = true;
      this.#next = this.#length;
      return false;
    }
    this.type = this.view.getUint16(at + 4, true);
    this.flags = this.view.getUint16(at + 6, true);
    this.sequence = this.view.getUint32(at + 8, true);
    this.port = this.view.getUint32(at + 12, true);
    this.start = at + headerBytes;
    this.end = at + length;
    this.#next = at + align4(length);
    return true;
  }
}

/** An attribute to send: type and value. Numbers are u32; nested ones are lists and get NLA_F_NESTED. */
export type RequestAttribute = readonly [
  type: number,
  value: number | string | Uint8Array | readonly RequestAttribute[],
];

const NLA_F_NESTED = 0x8000;

function encodeAttribute([type, value]: RequestAttribute): Buffer {
  let body: Uint8Array;
  let code = type;
  if (typeof value === 'number') {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value >>> 0);
    body = word;
  } else if (typeof value === 'string') {
    body = Buffer.from(`${value}\0`, 'utf8');
  } else if (value instanceof Uint8Array) {
    body = value;
  } else {
    body = encodeAttributes(value);
    code |= NLA_F_NESTED;
  }
  const out = Buffer.alloc(align4(4 + body.length));
  out.writeUInt16LE(4 + body.length, 0);
  out.writeUInt16LE(code, 2);
  out.set(body, 4);
  return out;
}

/** A row of attributes, padded. */
export function encodeAttributes(attributes: readonly RequestAttribute[]): Buffer {
  return Buffer.concat(attributes.map(encodeAttribute));
}

/**
 * Builds a request: header, fixed part, attributes. NLM_F_REQUEST is added; the sequence number is the socket's business and stays 0.
 */
export function netlinkRequest(
  type: number,
  flags: number,
  fixed: Uint8Array,
  attributes: readonly RequestAttribute[] = [],
): Buffer {
  const tail = encodeAttributes(attributes);
  const fixedBytes = align4(fixed.length);
  const out = Buffer.alloc(headerBytes + fixedBytes + tail.length);
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(type, 4);
  out.writeUInt16LE(flags | NLM_F_REQUEST, 6);
  out.set(fixed, headerBytes);
  out.set(tail, headerBytes + fixedBytes);
  return out;
}
