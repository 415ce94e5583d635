import { type Quantity, quantityInfo } from '../../view/quantities.ts';
import type { PodSummary } from '../../view/types.ts';
import { clean, number } from './text.ts';

/** A column of the list of pods. */
export interface Column {
  readonly title: string;
  readonly width: number;
  readonly align: 'left' | 'right';
  readonly text: (pod: PodSummary) => string;
  /** What it is sorted by, most first; absent = not sortable. */
  readonly value?: (pod: PodSummary) => number;
  /** Lower ones go first when there is no room. */
  readonly rank: number;
  readonly isTrouble?: boolean;
}

const recent = (title: string, quantity: Quantity, rank: number): Column => ({
  title,
  width: Math.max(title.length + 1, 6),
  align: 'right',
  text: (pod) => number(pod.recent[quantity]),
  value: (pod) => pod.recent[quantity] ?? 0,
  rank,
  isTrouble: true,
});
const rate = (title: string, quantity: Quantity, rank: number): Column => ({
  title,
  width: Math.max(title.length, 6),
  align: 'right',
  text: (pod) => number(pod.rates[quantity]),
  value: (pod) => pod.rates[quantity] ?? 0,
  rank,
});

/** `namespace/name`; what has no namespace by its name alone. */
export function podName({ kind, name, namespace }: PodSummary): string {
  if (kind === 'node') return `${clean(name)} (node)`;
  return clean(namespace === '-' || namespace === '' || namespace === name ? name : `${namespace}/${name}`);
}

/** Quantities whose labels say enough by themselves. */
const telling: readonly Quantity[] = ['drops', 'connectFailures'];

/** Why it is in trouble: `NETFILTER_DROP 23`, `ECONNREFUSED 7`, `resets nosock 7`. */
export function because({ worst }: PodSummary): string {
  if (!worst) return '';
  const { quantity, count, label, labelCount = count } = worst;
  const name = quantityInfo[quantity].label;
  if (label === undefined) return `${name} ${number(count)}`;
  return clean(`${telling.includes(quantity) ? '' : `${name} `}${label} ${number(labelCount)}`);
}

/** In the order of the screen. The column of names takes what is left. */
export const columns: readonly Column[] = [
  {
    title: 'TROUBLE',
    width: 7,
    align: 'right',
    text: (p) => number(Math.round(p.trouble)),
    value: (p) => p.trouble,
    rank: 9,
  },
  { title: 'POD', width: 20, align: 'left', text: podName, rank: 10 },
  recent('DROPS', 'drops', 9),
  recent('RESETS', 'resets', 7),
  recent('RETRANS', 'retransmits', 7),
  recent('CONNECT', 'connectFailures', 6),
  recent('ACCEPTQ', 'acceptOverflows', 5),
  recent('UDPFULL', 'udpOverflows', 4),
  recent('DNS', 'dnsFailures', 2),
  recent('SLOW', 'slow', 3),
  rate('RX p/s', 'rxPackets', 3),
  rate('TX p/s', 'txPackets', 3),
  rate('RX B/s', 'rxBytes', 1),
  rate('TX B/s', 'txBytes', 1),
  { title: 'BECAUSE', width: 22, align: 'left', text: because, rank: 8 },
];

/** Narrowest column of names before others give way. */
const leastName = 20;
const mostName = 64;

/** Those that fit into a width, with the width that each gets. */
export function fitColumns(width: number): readonly Column[] {
  let shown = [...columns];
  const total = () => shown.reduce((n, c) => n + 1 + c.width, 0);
  while (total() > width && shown.length > 2) {
    const least = Math.min(...shown.map((c) => c.rank));
    const gone = shown.findLastIndex((c) => c.rank === least);
    shown = shown.filter((_, i) => i !== gone);
  }
  const spare = width - total();
  const name = Math.min(mostName, Math.max(1, leastName + (spare < 0 ? spare : Math.ceil(spare * 0.6))));
  const rest = Math.max(0, spare - (name - leastName));
  return shown.map((c) =>
    c.title === 'POD' ? { ...c, width: name } : c.title === 'BECAUSE' ? { ...c, width: c.width + rest } : c,
  );
}

/** What the list can be sorted by; the first is how it comes. */
export const sorts: readonly Column[] = columns.filter((c) => c.value);

/**
 * What a list shows: pods, where there are any, else whatever namespaces there are. On a node with pods the other namespaces are seldom what
 * somebody looks for, so they are counted in the head and shown on demand.
 */
export function listed(pods: readonly PodSummary[], all: boolean): readonly PodSummary[] {
  return all || !pods.some(isPod) ? pods : pods.filter((p) => p.kind !== 'netns');
}

export const isPod = ({ kind }: PodSummary): boolean => kind === 'pod' || kind === 'container';

/** Sorted by one of {@link sorts}; what is equal stays by trouble. */
export function sorted(pods: readonly PodSummary[], sort: number): readonly PodSummary[] {
  const { value } = sorts[sort]!;
  return sort === 0 ? pods : [...pods].sort((a, b) => value!(b) - value!(a));
}
