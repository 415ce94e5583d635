import { quantityInfo } from '../../view/quantities.ts';
import { troubleWeights } from '../../view/trouble.ts';
import { minutes } from './list-page.ts';
import type { Line } from './text.ts';

const keys: readonly (readonly [string, string])[] = [
  ['↑ ↓  j k', 'select a pod, or scroll its page; PgUp, PgDn, g, G go further'],
  ['enter', "open the selected pod's page"],
  ['esc', 'back; in the list: filter away'],
  ['s  S', 'sort by the next, the previous column'],
  ['a', 'on a node with pods: namespaces of no pod, and their events, too'],
  ['/', 'show events with these words only: /packetloss pod=web dport=80'],
  ['p', 'pause: the picture stands, counting goes on'],
  ['?', 'this page'],
  ['q', 'quit'],
];

export function helpPage(windowMs: number): Line[] {
  const weights = [...troubleWeights].map(([q, weight]) => `${weight} × ${quantityInfo[q].label}`);
  return [
    [{ text: ' KEYS', style: 'bold' }],
    ...keys.map(([key, what]): Line => [{ text: `   ${key.padEnd(10)}`, style: 'bold' }, { text: what }]),
    [],
    [{ text: ' WHAT IS SHOWN', style: 'bold' }],
    [
      {
        text: `   Counts are of the last ${minutes(windowMs)}, /s of the last collection. - = not observed on this node.`,
      },
    ],
    [{ text: '   Trouble is the sum of weight × log2(1 + count) over' }],
    ...inRows(weights).map((w): Line => [{ text: `     ${w}`, style: 'dim' }]),
  ];
}

/** Three a line. */
function inRows(all: readonly string[]): string[] {
  const rows: string[] = [];
  for (let i = 0; i < all.length; i += 3) {
    const row = all.slice(i, i + 3).map((s) => s.padEnd(30));
    rows.push(row.join('').trimEnd());
  }
  return rows;
}
