/**
 * Queueing disciplines over rtnetlink: include/uapi/linux/rtnetlink.h (tcmsg, TCA_*), gen_stats.h (TCA_STATS_*), pkt_sched.h (the
 * statistics of each kind, which have only grown at their ends).
 */
import { AttributeCursor } from '../../host/netlink/attributes.ts';
import { type NetlinkMessage, netlinkRequest } from '../../host/netlink/message.ts';

const RTM_GETQDISC = 38;
/** Bytes of `struct tcmsg`. */
const headerBytes = 20;
const TC_H_ROOT = 0xffff_ffff;
const TC_H_INGRESS = 0xffff_fff1;

/** Asks for every qdisc of every device of the namespace. */
export const qdiscRequest = (): Buffer => netlinkRequest(RTM_GETQDISC, 0, Buffer.alloc(headerBytes));

/** Reasons of {@link QdiscRow.dropReasons}, in order. */
export const dropReasons = [
  'overlimit',
  'overmemory',
  'flow_limit',
  'horizon',
  'too_long',
  'allocation',
  'early',
  'hard',
  'other',
] as const;
/** States of {@link QdiscRow.flows}, in order. */
export const flowStates = ['active', 'inactive', 'throttled', 'new', 'old'] as const;

/** One qdisc. Numbers that the kernel or the kind does not give are NaN. */
export interface QdiscRow {
  interfaceIndex: number;
  kind: string;
  /** At the top of its device (root, ingress, clsact): its numbers include its children's. */
  top: boolean;
  bytes: number;
  packets: number;
  drops: number;
  requeues: number;
  overlimits: number;
  queueLength: number;
  backlogBytes: number;
  ecnMarked: number;
  throttled: number;
  readonly dropReasons: Float64Array;
  readonly flows: Float64Array;
}

export function newRow(): QdiscRow {
  const row = {
    dropReasons: new Float64Array(dropReasons.length),
    flows: new Float64Array(flowStates.length),
  } as QdiscRow;
  clear(row);
  return row;
}

function clear(row: QdiscRow): void {
  row.interfaceIndex = 0;
  row.kind = '';
  row.top = false;
  row.bytes = Number.NaN;
  row.packets = Number.NaN;
  row.drops = Number.NaN;
  row.requeues = Number.NaN;
  row.overlimits = Number.NaN;
  row.queueLength = Number.NaN;
  row.backlogBytes = Number.NaN;
  row.ecnMarked = Number.NaN;
  row.throttled = Number.NaN;
  row.dropReasons.fill(Number.NaN);
  row.flows.fill(Number.NaN);
}

const outer = new AttributeCursor();
const stats = new AttributeCursor();
const TCA_KIND = 1;
const TCA_STATS2 = 7;
const TCA_STATS_BASIC = 1;
const TCA_STATS_QUEUE = 3;
const TCA_STATS_APP = 4;
const TCA_STATS_PKT64 = 8;

/** Malformed attributes since the last call. */
export const takeRejects = (): number => outer.takeRejects() + stats.takeRejects();

/** Reads one RTM_NEWQDISC. @returns false when it is too short or has no kind. */
export function readQdisc(message: NetlinkMessage, row: QdiscRow): boolean {
  clear(row);
  const { view, start, end } = message;
  if (end - start < headerBytes) return false;
  row.interfaceIndex = view.getInt32(start + 4, true);
  const parent = view.getUint32(start + 12, true);
  row.top = parent === TC_H_ROOT || parent === TC_H_INGRESS;
  // The kind decides how the application statistics are read, and stands before them in every kernel (tc_fill_qdisc()).
  outer.reset(view, start + headerBytes, end);
  while (outer.next()) {
    if (outer.type === TCA_KIND) row.kind = outer.text();
    else if (outer.type === TCA_STATS2) readStats(row);
  }
  return row.kind !== '';
}

function readStats(row: QdiscRow): void {
  stats.enter(outer);
  while (stats.next()) {
    if (stats.type === TCA_STATS_BASIC) {
      row.bytes = stats.u64();
      if (Number.isNaN(row.packets)) row.packets = stats.u32(8);
    } else if (stats.type === TCA_STATS_PKT64) {
      // Sent when 32 bits are not enough.
      row.packets = stats.u64();
    } else if (stats.type === TCA_STATS_QUEUE) {
      row.queueLength = stats.u32(0);
      row.backlogBytes = stats.u32(4);
      row.drops = stats.u32(8);
      row.requeues = stats.u32(12);
      row.overlimits = stats.u32(16);
    } else if (stats.type === TCA_STATS_APP) {
      readers[row.kind]?.(row);
    }
  }
}

const u32At = (offset: number): number => (offset + 4 <= stats.length ? stats.u32(offset) : Number.NaN);
const u64At = (offset: number): number => (offset + 8 <= stats.length ? stats.u64(offset) : Number.NaN);

function setReason(row: QdiscRow, reason: (typeof dropReasons)[number], value: number): void {
  row.dropReasons[dropReasons.indexOf(reason)] = value;
}
function setFlows(row: QdiscRow, state: (typeof flowStates)[number], value: number): void {
  row.flows[flowStates.indexOf(state)] = value;
}

const readers: Readonly<Record<string, (row: QdiscRow) => void>> = {
  /** struct tc_fq_codel_xstats: type 0 = of the qdisc, then tc_fq_codel_qd_stats. */
  fq_codel(row) {
    if (u32At(0) !== 0) return;
    setReason(row, 'overlimit', u32At(8));
    row.ecnMarked = u32At(12);
    setFlows(row, 'new', u32At(20));
    setFlows(row, 'old', u32At(24));
    setReason(row, 'overmemory', u32At(36));
  },
  /** struct tc_fq_qd_stats; horizon drops since 5.8, ce_mark since 4.20. */
  fq(row) {
    row.throttled = u64At(24);
    setReason(row, 'flow_limit', u64At(32));
    setReason(row, 'too_long', u64At(40));
    setReason(row, 'allocation', u64At(48));
    const flows = u32At(64);
    const inactive = u32At(68);
    setFlows(row, 'active', flows - inactive);
    setFlows(row, 'inactive', inactive);
    setFlows(row, 'throttled', u32At(72));
    row.ecnMarked = u64At(80);
    setReason(row, 'horizon', u64At(88));
  },
  /** struct tc_codel_xstats. */
  codel(row) {
    setReason(row, 'overlimit', u32At(20));
    row.ecnMarked = u32At(24);
  },
  /** struct tc_red_xstats. */
  red(row) {
    setReason(row, 'early', u32At(0));
    setReason(row, 'hard', u32At(4));
    setReason(row, 'other', u32At(8));
    row.ecnMarked = u32At(12);
  },
};
