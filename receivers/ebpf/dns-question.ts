/** What was asked, as far as it could be read. */
export interface DnsQuestion {
  /** Without the dot at the end (`.` for the root), as RFC 1035 §5.1 writes names: other bytes as `\DDD`. */
  readonly name: string;
  /** `AAAA`; `TYPE65534` for a number without a name here (RFC 3597); undefined when the name was cut off. */
  readonly type: string | undefined;
  /** The name goes on beyond what was carried. */
  readonly cut: boolean;
}

/** IANA "Resource Record (RR) TYPEs", those that resolvers ask for. */
const types: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  13: 'HINFO',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  35: 'NAPTR',
  39: 'DNAME',
  43: 'DS',
  46: 'RRSIG',
  47: 'NSEC',
  48: 'DNSKEY',
  52: 'TLSA',
  64: 'SVCB',
  65: 'HTTPS',
  255: 'ANY',
  257: 'CAA',
};

/** IANA "DNS RCODEs", four bits of the header. */
const rcodes = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
  'DSOTYPENI',
] as const;

export function rcodeName(rcode: number): string {
  return rcodes[rcode] ?? `RCODE${rcode}`;
}

/** A label's bytes as text that has no dots, spaces or control characters of its own. */
function labelText(bytes: ArrayLike<number>, from: number, to: number): string {
  let out = '';
  for (let i = from; i < to; i++) {
    const b = bytes[i]!;
    if (b === 0x2e || b === 0x5c) out += `\\${String.fromCharCode(b)}`;
    else if (b > 0x20 && b < 0x7f) out += String.fromCharCode(b);
    else out += `\\${String(b).padStart(3, '0')}`;
  }
  return out;
}

/**
 * Reads the first question of a DNS message (RFC 1035 §4.1.2) from the bytes behind its header. The bytes come from the network: whatever
 * they are, there is an answer. Undefined when there is no question to read, or none that a question may be (compressed, too long).
 */
export function parseQuestion(bytes: ArrayLike<number>, length = bytes.length): DnsQuestion | undefined {
  const end = Math.min(length, bytes.length);
  const labels: string[] = [];
  let at = 0;
  if (end === 0) return undefined;
  for (;;) {
    if (at >= end) return { name: labels.join('.'), type: undefined, cut: true };
    const size = bytes[at]!;
    if (size === 0) break;
    if (size > 63) return undefined;
    labels.push(labelText(bytes, at + 1, Math.min(at + 1 + size, end)));
    at += 1 + size;
  }
  const name = labels.length === 0 ? '.' : labels.join('.');
  if (at + 3 > end) return { name, type: undefined, cut: false };
  const type = bytes[at + 1]! * 256 + bytes[at + 2]!;
  return { name, type: types[type] ?? `TYPE${type}`, cut: false };
}
