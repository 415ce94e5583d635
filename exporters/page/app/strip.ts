import type { NodeStrip } from '../messages.ts';
import { h, putNew } from './dom.ts';
import { byteRate, count, percent } from './format.ts';

/** What is counted and how it is called, in this order. */
const occurrences: readonly (readonly [keyof NodeStrip['recent'], string])[] = [
  ['drops', 'drops'],
  ['resets', 'resets'],
  ['retransmits', 'retransmits'],
  ['connectFailures', 'connects failed'],
  ['acceptOverflows', 'accept full'],
  ['udpOverflows', 'UDP full'],
  ['dnsFailures', 'DNS failures'],
  ['slow', 'slow'],
];

/** The large figures on top of a view: of a pod, or of the node. What is not observed is left out. */
export function drawStrip(
  strip: HTMLElement,
  { recent, rates, conntrack }: Pick<NodeStrip, 'recent' | 'rates' | 'conntrack'>,
  first: readonly (readonly [label: string, n: number, isBad: boolean])[] = [],
): void {
  const happened = occurrences.flatMap(([quantity, label]) => {
    const n = recent[quantity];
    return n === undefined ? [] : [{ label, value: count(n), isBad: n > 0 }];
  });
  const rate = (label: string, n: number | undefined) =>
    n === undefined ? [] : [{ label, value: byteRate(n), isBad: false }];
  const figures = [
    ...first.map(([label, n, isBad]) => ({ label, value: String(n), isBad })),
    ...happened,
    ...rate('in', rates.rxBytes),
    ...rate('out', rates.txBytes),
    ...(conntrack?.limit
      ? [{ label: 'conntrack', value: percent(conntrack.entries / conntrack.limit), isBad: false }]
      : []),
  ];
  putNew(strip, JSON.stringify(figures), () =>
    figures.map(({ label, value, isBad }) =>
      h('div', { 'data-tone': isBad && 'bad' }, h('dt', {}, label), h('dd', {}, value)),
    ),
  );
}
