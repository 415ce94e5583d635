/**
 * ctnetlink messages: include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h.
 * Numbers in attributes are big-endian.
 */
import { AttributeCursor } from '../../host/netlink/attributes.ts';
import { type NetlinkMessage, netlinkRequest } from '../../host/netlink/message.ts';
import { ipv4Text, ipv6Text } from '../../host/netlink/sock-diag.ts';

const subsystem = 1 << 8;
export const CT_NEW = subsystem | 0;
export const CT_GET = subsystem | 1;
export const CT_DELETE = subsystem | 2;
export const CT_GET_STATS_CPU = subsystem | 4;
export const CT_GET_STATS = subsystem | 5;
/** Multicast groups (NFNLGRP_*). */
export const conntrackGroups = { new: 1, update: 2, destroy: 3 } as const;

/** Bytes of `struct nfgenmsg`, which precedes the attributes. */
const genericBytes = 4;

/** A request with `struct nfgenmsg` of a family (0 = both IP versions). */
export const conntrackRequest = (type: number, flags = 0, family = 0): Buffer =>
  netlinkRequest(type, flags, Buffer.from([family, 0, 0, 0]));

/** Counters of `IPCTNL_MSG_CT_GET_STATS_CPU` in the order of {@link cpuCounters}: `enum ctattr_stats_cpu`. */
export const cpuCounters = [
  ['skoop.conntrack.found', 2],
  ['skoop.conntrack.invalid', 4],
  ['skoop.conntrack.ignored', 5],
  ['skoop.conntrack.inserted', 8],
  ['skoop.conntrack.insert_failed', 9],
  ['skoop.conntrack.dropped', 10],
  ['skoop.conntrack.early_dropped', 11],
  ['skoop.conntrack.errors', 12],
  ['skoop.conntrack.search_restarts', 13],
  ['skoop.conntrack.clashes_resolved', 14],
  ['skoop.conntrack.chains_too_long', 15],
] as const;

const slotOfAttribute: readonly (number | undefined)[] = Array.from({ length: 16 }, (_, type) => {
  const slot = cpuCounters.findIndex(([, t]) => t === type);
  return slot < 0 ? undefined : slot;
});

const outer = new AttributeCursor();
const middle = new AttributeCursor();
const inner = new AttributeCursor();

/**
 * Adds one CPU's counters to the totals (one slot for each of {@link cpuCounters}; NaN until the kernel sends it).
 * @returns how many attributes were malformed.
 */
export function addCpuCounters(message: NetlinkMessage, totals: Float64Array): number {
  outer.reset(message.view, message.start + genericBytes, message.end);
  while (outer.next()) {
    const slot = slotOfAttribute[outer.type];
    if (slot === undefined) continue;
    const value = outer.be32();
    if (Number.isNaN(value)) continue;
    const before = totals[slot] as number;
    totals[slot] = (Number.isNaN(before) ? 0 : before) + value;
  }
  return outer.takeRejects();
}

export interface TableUsage {
  entries: number;
  /** NaN on old kernels, which do not say. */
  limit: number;
}

/** Reads `IPCTNL_MSG_CT_GET_STATS`. @returns how many attributes were malformed. */
export function readTableUsage(message: NetlinkMessage, into: TableUsage): number {
  outer.reset(message.view, message.start + genericBytes, message.end);
  while (outer.next()) {
    if (outer.type === 1) into.entries = outer.be32();
    else if (outer.type === 2) into.limit = outer.be32();
  }
  return outer.takeRejects();
}

/** States of tracked TCP connections by number (`enum tcp_conntrack`). */
export const tcpStateNames: readonly string[] = [
  'none',
  'syn_sent',
  'syn_recv',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
  'time_wait',
  'close',
  'syn_sent2',
];
const IPS_SEEN_REPLY = 1 << 1;
const IPS_ASSURED = 1 << 2;
const IPS_SRC_NAT = 1 << 4;
const IPS_DST_NAT = 1 << 5;

/** Names of protocols that are common in tables; others go by number. */
const protocolNames: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  47: 'gre',
  58: 'icmpv6',
  132: 'sctp',
};
export const protocolName = (protocol: number): string => protocolNames[protocol] ?? String(protocol);

/** One direction of a connection. Addresses are text only when asked for. */
export interface Tuple {
  source: string;
  destination: string;
  protocol: number;
  /** NaN where the protocol has no ports. */
  sourcePort: number;
  destinationPort: number;
}

/** One connection; the same object is filled again and again. Absent numbers are NaN. */
export interface ConntrackEntry {
  /** AF_INET 2, AF_INET6 10. */
  family: number;
  original: Tuple;
  reply: Tuple;
  status: number;
  tcpState: number;
  id: number;
  zone: number;
  mark: number;
  originalPackets: number;
  originalBytes: number;
  replyPackets: number;
  replyBytes: number;
  /** Unix epoch ns, where nf_conntrack_timestamp is on. */
  startNs: bigint | undefined;
  stopNs: bigint | undefined;
}

const newTuple = (): Tuple => ({
  source: '',
  destination: '',
  protocol: 0,
  sourcePort: Number.NaN,
  destinationPort: Number.NaN,
});

export function newEntry(): ConntrackEntry {
  const entry = { original: newTuple(), reply: newTuple() } as ConntrackEntry;
  clear(entry);
  return entry;
}

function clear(e: ConntrackEntry): void {
  for (const t of [e.original, e.reply]) {
    t.source = '';
    t.destination = '';
    t.protocol = 0;
    t.sourcePort = Number.NaN;
    t.destinationPort = Number.NaN;
  }
  e.family = 0;
  e.status = Number.NaN;
  e.tcpState = Number.NaN;
  e.id = Number.NaN;
  e.zone = 0;
  e.mark = 0;
  e.originalPackets = Number.NaN;
  e.originalBytes = Number.NaN;
  e.replyPackets = Number.NaN;
  e.replyBytes = Number.NaN;
  e.startNs = undefined;
  e.stopNs = undefined;
}

/**
 * Reads an entry of a dump or an event (IPCTNL_MSG_CT_NEW, _DELETE) in full.
 * @returns false when the message is too short or has no original tuple; malformed attributes are counted in `rejects()`.
 */
export function readEntry(message: NetlinkMessage, entry: ConntrackEntry): boolean {
  clear(entry);
  const { view, start, end } = message;
  if (end - start < genericBytes) return false;
  entry.family = view.getUint8(start);
  outer.reset(view, start + genericBytes, end);
  while (outer.next()) readAttribute(view, entry);
  return entry.original.protocol !== 0;
}

/** Malformed attributes since the last call. */
export const takeRejects = (): number => outer.takeRejects() + middle.takeRejects() + inner.takeRejects();

function readAttribute(view: DataView, e: ConntrackEntry): void {
  switch (outer.type) {
    case 1:
      readTuple(view, e.original);
      return;
    case 2:
      readTuple(view, e.reply);
      return;
    case 3:
      e.status = outer.be32();
      return;
    case 4:
      e.tcpState = readTcpState();
      return;
    case 8:
      e.mark = outer.be32();
      return;
    case 9:
      [e.originalPackets, e.originalBytes] = readCounters();
      return;
    case 10:
      [e.replyPackets, e.replyBytes] = readCounters();
      return;
    case 12:
      e.id = outer.be32();
      return;
    case 18:
      e.zone = outer.be16();
      return;
    case 20:
      readTimestamps(view, e);
      return;
  }
}

function readTuple(view: DataView, t: Tuple): void {
  middle.enter(outer);
  while (middle.next()) {
    inner.enter(middle);
    if (middle.type === 1) {
      while (inner.next()) readAddress(view, t);
    } else if (middle.type === 2) {
      while (inner.next()) {
        if (inner.type === 1) t.protocol = inner.u8();
        else if (inner.type === 2) t.sourcePort = inner.be16();
        else if (inner.type === 3) t.destinationPort = inner.be16();
      }
    }
  }
}

function readAddress(view: DataView, t: Tuple): void {
  const { type, start, length } = inner;
  const v6 = type === 3 || type === 4;
  if (length < (v6 ? 16 : 4)) {
    inner.rejects++;
    return;
  }
  const text = v6 ? ipv6Text(view, start) : ipv4Text(view, start);
  if (type === 1 || type === 3) t.source = text;
  else if (type === 2 || type === 4) t.destination = text;
}

/** CTA_PROTOINFO → CTA_PROTOINFO_TCP → CTA_PROTOINFO_TCP_STATE; NaN for other protocols. */
function readTcpState(): number {
  middle.enter(outer);
  while (middle.next()) {
    if (middle.type !== 1) continue;
    inner.enter(middle);
    while (inner.next()) if (inner.type === 1) return inner.u8();
  }
  return Number.NaN;
}

function readCounters(): [packets: number, bytes: number] {
  let packets = Number.NaN;
  let bytes = Number.NaN;
  middle.enter(outer);
  while (middle.next()) {
    if (middle.type === 1) packets = middle.be64();
    else if (middle.type === 2) bytes = middle.be64();
  }
  return [packets, bytes];
}

function readTimestamps(view: DataView, e: ConntrackEntry): void {
  middle.enter(outer);
  while (middle.next()) {
    if (middle.length < 8) middle.rejects++;
    else if (middle.type === 1) e.startNs = view.getBigUint64(middle.start, false);
    else if (middle.type === 2) e.stopNs = view.getBigUint64(middle.start, false);
  }
}

/** TCP: its state. Others: whether a reply was seen and whether it lasts. Empty when the kernel did not say. */
export function stateName(protocol: number, tcpState: number, status: number): string {
  if (!Number.isNaN(tcpState) && protocol === 6) return tcpStateNames[tcpState] ?? 'none';
  if (Number.isNaN(status)) return '';
  if ((status & IPS_ASSURED) !== 0) return 'assured';
  return (status & IPS_SEEN_REPLY) !== 0 ? 'replied' : 'unreplied';
}

/** Which addresses are translated; empty for none. */
export function natName(status: number): '' | 'source' | 'destination' | 'both' {
  const source = (status & IPS_SRC_NAT) !== 0;
  const destination = (status & IPS_DST_NAT) !== 0;
  if (source && destination) return 'both';
  if (source) return 'source';
  return destination ? 'destination' : '';
}

/** What counting by protocol and state needs of an entry, without its addresses: about a third of the work of {@link readEntry}. */
export interface EntryClass {
  protocol: number;
  tcpState: number;
  status: number;
}

/** Reads protocol and state of an entry of a dump. @returns false when it has none. */
export function readEntryClass(message: NetlinkMessage, into: EntryClass): boolean {
  into.protocol = 0;
  into.tcpState = Number.NaN;
  into.status = Number.NaN;
  outer.reset(message.view, message.start + genericBytes, message.end);
  while (outer.next()) {
    if (outer.type === 1) into.protocol = readProtocol();
    else if (outer.type === 3) into.status = outer.be32();
    else if (outer.type === 4) into.tcpState = readTcpState();
  }
  return into.protocol > 0;
}

function readProtocol(): number {
  middle.enter(outer);
  while (middle.next()) {
    if (middle.type !== 2) continue;
    inner.enter(middle);
    while (inner.next()) if (inner.type === 1) return inner.u8();
  }
  return 0;
}
