import { type Quantity, quantityInfo } from '../../view/quantities.ts';
import type { Breakdown, PodDetail } from '../../view/types.ts';
import { because, podName } from './columns.ts';
import type { PodData } from './data.ts';
import { cut, eventRows, latencyRows, minutes } from './list-page.ts';
import { clean, fill, fit, type Line, number, type Span, seconds, sparkline } from './text.ts';
import type { Ui } from './ui.ts';

/** Rows of a pod's page, from the one it is scrolled to. */
export function podPage({ pod, history, windowMs }: PodData, ui: Ui, width: number, height: number): Line[] {
  const blocks = [...traffic(pod, history.values, minutes(windowMs).toUpperCase(), width), ...details(pod, width)];
  const fixed = blocks.length + 6 <= height;
  const events = eventRows(
    pod.events,
    ui.filter,
    width,
    fixed ? height - blocks.length : Math.max(6, Math.floor(height / 3)),
  );
  const all = [...blocks, ...events];
  const first = Math.min(ui.scroll, Math.max(0, all.length - height));
  return all.slice(first, first + height).map((line) => cut(line, width));
}

function head(pod: PodDetail): Line {
  const why = because(pod);
  return [
    { text: ` ${podName(pod)}`, style: 'bold' },
    {
      text: `  ${[pod.state, pod.hostNetwork ? 'host network' : '', ...pod.ips]
        .filter(Boolean)
        .map((s) => clean(s!))
        .join('  ')}`,
      style: 'dim',
    },
    ...(why ? [{ text: `  ${why}`, style: 'bad' as const }] : []),
  ];
}

/** Always shown, and those that happened. */
const always: readonly Quantity[] = ['rxPackets', 'txPackets', 'rxBytes', 'txBytes', 'drops', 'resets', 'retransmits'];
const whenAny: readonly Quantity[] = [
  'connectFailures',
  'acceptOverflows',
  'udpOverflows',
  'dnsFailures',
  'slow',
  'softnetDropped',
  'softnetSqueezed',
  'conntrackDropped',
  'suppressed',
  'lost',
];

function traffic(pod: PodDetail, values: PodData['history']['values'], window: string, width: number): Line[] {
  const shown = [...always, ...whenAny.filter((q) => (pod.recent[q] ?? 0) > 0)];
  const bars = Math.max(0, Math.min(60, width - 48));
  return [
    head(pod),
    [],
    [{ text: ` ${fit('', 26)}${fit('/s', 8, 'right')}${fit(window, 9, 'right')}`, style: 'bold' }],
    ...shown.map((q): Line => {
      const isBad = quantityInfo[q].weight !== undefined && (pod.recent[q] ?? 0) > 0;
      const text = `${fit(number(pod.rates[q]), 8, 'right')}${fit(number(pod.recent[q]), 9, 'right')}`;
      return [
        { text: ` ${fit(quantityInfo[q].label, 26)}` },
        { text, ...(isBad ? { style: 'bad' as const } : {}) },
        { text: `  ${sparkline(values[q] ?? [], bars)}`, style: isBad ? 'bad' : 'good' },
      ];
    }),
    [],
  ];
}

/** What there is, in two columns where the terminal is wide. */
function details(pod: PodDetail, width: number): Line[] {
  const sections = [
    breakdownRows('DROPS BY REASON', pod.drops),
    breakdownRows('RESETS BY TYPE', pod.resets),
    breakdownRows('RETRANSMITS BY KIND', pod.retransmitKinds),
    breakdownRows('FAILED CONNECTS BY ERROR', pod.connectFailures),
    latencyRows(pod.latencies),
    peerRows(pod),
    connectionRows(pod),
  ].filter((rows) => rows.length > 0);
  const half = width >= 120 ? Math.floor(width / 2) : width;
  const columns: Line[][] = half < width ? [[], []] : [[]];
  for (const rows of sections) {
    const shortest = columns.reduce((a, b) => (b.length < a.length ? b : a));
    shortest.push(...rows.map((row): Line => cut([{ text: ' ' }, ...row], half - 1)), []);
  }
  const [left = [], right = []] = columns;
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i): Line => {
    const row = left[i] ?? [];
    return right[i] ? [...fill(row, half), ...right[i]] : row;
  });
}

const maxRows = 6;

function breakdownRows(title: string, of: readonly Breakdown[]): Line[] {
  if (of.length === 0) return [];
  return [
    [
      { text: fit(title, 27), style: 'bold' },
      { text: `${fit('RECENT', 8, 'right')}${fit('TOTAL', 8, 'right')}`, style: 'bold' },
    ],
    ...of.slice(0, maxRows).map(({ labels: [first = '', ...more], recent, total }): Line => {
      const counts: Span = {
        text: `${fit(number(recent), 8, 'right')}${fit(number(total), 8, 'right')}`,
        ...(recent > 0 ? { style: 'bad' as const } : {}),
      };
      return [
        { text: fit(clean(first || '-'), 27) },
        counts,
        { text: clean(`  ${more.filter(Boolean).join(' ')}`), style: 'dim' },
      ];
    }),
  ];
}

function peerRows({ peers }: PodDetail): Line[] {
  if (peers.length === 0) return [];
  return [
    [
      {
        text: `${fit('WORST PEERS', 27)}${fit('RTT', 8, 'right')}${fit('RETRANS', 8, 'right')}${fit('B/s', 8, 'right')}`,
        style: 'bold',
      },
    ],
    ...peers.slice(0, maxRows).map((p): Line => {
      const ratio = p.retransmitRatio === undefined ? '-' : `${(100 * p.retransmitRatio).toFixed(1)}%`;
      const cells = [seconds(p.rttSeconds), ratio, number(p.bytesPerSecond)];
      return [
        { text: fit(clean(p.address), 27) },
        { text: cells.map((c) => fit(c, 8, 'right')).join('') },
        { text: p.name === undefined ? '' : `  ${clean(p.name)}`, style: 'dim' },
      ];
    }),
  ];
}

function connectionRows({ tcpConnections, listeners, conntrack }: PodDetail): Line[] {
  const states = Object.entries(tcpConnections).map(([state, n]) => `${clean(state)} ${number(n)}`);
  const rows: Line[] = [
    [{ text: states.join('  ') || 'no TCP connection', ...(states.length === 0 ? { style: 'dim' as const } : {}) }],
  ];
  for (const l of listeners.slice(0, maxRows)) {
    const full = l.limit !== undefined && l.queue >= l.limit;
    rows.push([
      { text: `listens on ${clean(l.address)}:${clean(l.port)}  queue ` },
      { text: `${number(l.queue)}/${number(l.limit)}`, ...(full ? { style: 'bad' as const } : {}) },
    ]);
  }
  if (conntrack)
    rows.push([
      { text: `conntrack ${number(conntrack.entries)}${conntrack.limit ? `/${number(conntrack.limit)}` : ''}` },
    ]);
  return [[{ text: 'CONNECTIONS', style: 'bold' }], ...rows];
}
