import type { DropReason, LatencySummary, PodSummary, ViewEvent } from '../../view/types.ts';
import { fitColumns, isPod, listed, sorted, sorts } from './columns.ts';
import type { Data } from './data.ts';
import { eventRow } from './event-row.ts';
import { clean, fill, fit, type Line, number, type Span, seconds } from './text.ts';
import type { Ui } from './ui.ts';

/** Rows of a screen of this size: node, pods, drops, latencies, events. */
export function listPage(data: Data, ui: Ui, width: number, height: number): Line[] {
  const head = nodeLines(data, width);
  const left = height - head.length;
  const panels = left >= 15 ? Math.min(8, Math.floor(left * 0.3)) : 0;
  const leastEvents = left >= 8 ? Math.max(3, Math.floor(left * 0.3)) : 0;
  // Events get what a short list of pods leaves.
  const pods = Math.max(1, Math.min(rowsOf(data.pods, ui).length + 2, left - panels - leastEvents));
  const events = left >= 8 ? left - panels - pods : 0;
  return [
    ...head,
    ...podTable(data, ui, width, pods),
    ...panelRows(data, ui, width, panels),
    ...eventRows(data.events, ui.filter, width, events),
  ];
}

/** A window for people: `5 min`. */
export const minutes = (ms: number) => `${Math.round(ms / 6000) / 10} min`;

/** Two lines: what is on the node, and what went wrong on it. */
export function nodeLines({ node, pods, windowMs }: Data, width: number): Line[] {
  const { recent, rates, conntrack } = node;
  const what = (name: string, count: number | undefined, isBad = true): Span[] => [
    { text: `  ${name} `, style: 'dim' },
    { text: number(count), ...(isBad && count ? { style: 'bad' as const } : {}) },
  ];
  const rate = (name: string, n: number | undefined, unit = '/s'): Span[] => [
    { text: `  ${name} `, style: 'dim' },
    { text: n === undefined ? '-' : `${number(n)}${unit}` },
  ];
  const first: Span[] = [
    ...census(pods),
    ...rate('packets', sum(rates.rxPackets, rates.txPackets)),
    ...rate('bytes', sum(rates.rxBytes, rates.txBytes)),
    ...rate('drops', rates.drops),
    ...rate('resets', rates.resets),
    ...rate('retransmits', rates.retransmits),
    ...(conntrack
      ? [{ text: '  conntrack ', style: 'dim' as const }, { text: usage(conntrack.entries, conntrack.limit) }]
      : []),
    ...(node.untracked > 0 ? [{ text: `  ${node.untracked} pods left out`, style: 'warn' as const }] : []),
  ];
  const second: Span[] = [
    { text: ` last ${minutes(windowMs)}:`, style: 'dim' },
    ...what('drops', recent.drops),
    ...what('resets', recent.resets),
    ...what('retransmits', recent.retransmits),
    ...what('connects failed', recent.connectFailures),
    ...what('softnet dropped', recent.softnetDropped),
    ...what('events', recent.events, false),
    ...what('suppressed', recent.suppressed),
    ...what('lost', recent.lost),
  ];
  return [first, second, []].map((line) => cut(line, width));
}

/** How many there are, and in how many something is wrong. */
function census(all: readonly PodSummary[]): Span[] {
  const part = (what: string, of: readonly PodSummary[]): Span[] => {
    const troubled = of.filter((p) => p.trouble > 0).length;
    return [
      { text: ` ${of.length} ${what}${of.length === 1 ? '' : 's'}, ` },
      { text: `${troubled} in trouble`, style: troubled > 0 ? 'bad' : 'good' },
    ];
  };
  const pods = all.filter(isPod);
  const others = all.filter((p) => p.kind === 'netns');
  const both = pods.length > 0 && others.length > 0;
  return [
    ...(pods.length > 0 || others.length === 0 ? part('pod', pods) : []),
    ...(both ? [{ text: ' ' }] : []),
    ...(others.length > 0 ? part(both ? 'other namespace' : 'namespace', others) : []),
  ];
}

function usage(entries: number, limit: number | undefined): string {
  return limit ? `${number(entries)}/${number(limit)} (${Math.round((100 * entries) / limit)} %)` : number(entries);
}

const sum = (a: number | undefined, b: number | undefined) => (a === undefined || b === undefined ? undefined : a + b);

/** The pods as they are listed. */
export function rowsOf(pods: readonly PodSummary[], ui: Ui): readonly PodSummary[] {
  return sorted(listed(pods, ui.all), ui.sort);
}

function podTable({ pods }: Data, ui: Ui, width: number, height: number): Line[] {
  const shown = fitColumns(width);
  const sortTitle = sorts[ui.sort]!.title;
  const header: Line = shown.flatMap((c): Span[] => [
    { text: c.title === sortTitle ? '▼' : ' ' },
    { text: fit(c.title, c.width, c.align), style: 'bold' },
  ]);
  const rows = rowsOf(pods, ui);
  const room = height - 1;
  const at = Math.max(
    0,
    rows.findIndex((r) => r.key === ui.selected),
  );
  // The selected row is always in sight.
  const first = Math.max(0, Math.min(at - Math.floor(room / 2), rows.length - room));
  const lines = rows.slice(first, first + room).map((pod, i): Line => {
    if (first + i === at)
      return fill(
        [{ text: shown.map((c) => ` ${fit(c.text(pod), c.width, c.align)}`).join(''), style: 'selected' }],
        width,
        'selected',
      );
    return shown.flatMap((c): Span[] => {
      const text = fit(c.text(pod), c.width, c.align);
      const isBad = (c.isTrouble || c.title === 'TROUBLE') && (c.value?.(pod) ?? 0) > 0;
      if (isBad) return [{ text: ' ' }, { text, style: 'bad' }];
      return [{ text: ' ' }, pod.trouble > 0 || c.title === 'POD' ? { text } : { text, style: 'dim' }];
    });
  });
  if (rows.length === 0 && room > 0) lines.push([{ text: ' Nothing was collected yet.', style: 'dim' }]);
  return [header, ...padded(lines, room)];
}

/** Drops by reason on the left, latencies on the right, when there is room for both. */
function panelRows({ drops: all, latencies, pods }: Data, ui: Ui, width: number, height: number): Line[] {
  if (height < 3) return [];
  const drops = ui.all || !pods.some(isPod) ? all : ofNamed(all);
  const isWide = width >= 90;
  const half = isWide ? Math.floor(width / 2) : width;
  const left: Line[] = [
    [{ text: ' DROPS BY REASON', style: 'bold' }],
    ...drops.slice(0, height - 2).map((d): Line => {
      const [reason = '', location = ''] = d.labels;
      const whose = d.subjects.filter((s) => s.recent > 0 || d.recent === 0);
      const names = `${clean(whose[0]?.name ?? '')}${whose.length > 1 ? ` +${whose.length - 1}` : ''}`;
      return [
        { text: ` ${fit(number(d.recent), 6, 'right')} `, ...(d.recent > 0 ? { style: 'bad' as const } : {}) },
        { text: `${clean(reason)} ` },
        { text: clean(location ? `${location} ` : ''), style: 'dim' },
        { text: names },
      ];
    }),
  ];
  if (drops.length === 0) left.push([{ text: ' none', style: 'dim' }]);
  const right = latencyRows(latencies).slice(0, height - 1);
  const rows = Array.from({ length: height - 1 }, (_, i): Line => {
    const l = cut(left[i] ?? [], half - 1);
    return isWide ? [...fill(l, half), ...(right[i] ?? [])] : l;
  });
  return [[], ...rows];
}

/** Without what namespaces of no pod dropped, as in the list. */
function ofNamed(drops: readonly DropReason[]): readonly DropReason[] {
  return drops
    .map((d) => {
      const subjects = d.subjects.filter((s) => s.kind !== 'netns');
      return { ...d, subjects, recent: subjects.reduce((n, s) => n + s.recent, 0) };
    })
    .filter((d) => d.subjects.length > 0)
    .sort((a, b) => b.recent - a.recent);
}

/** A table of distributions. */
export function latencyRows(latencies: readonly LatencySummary[]): Line[] {
  const titles = `${fit('LATENCY', 25)}${['P50', 'P90', 'P99', 'MAX', 'COUNT'].map((t) => fit(t, 7, 'right')).join('')}`;
  return [
    [{ text: titles, style: 'bold' }],
    ...latencies.map((l): Line => {
      const cells = [seconds(l.p50), seconds(l.p90), seconds(l.p99), `≤${seconds(l.max)}`, number(l.count)];
      return [{ text: fit(l.label, 25) }, { text: cells.map((c) => fit(c, 7, 'right')).join('') }];
    }),
    ...(latencies.length === 0 ? [[{ text: 'no observation', style: 'dim' } as const]] : []),
  ];
}

/** The newest at the bottom, as they come. */
export function eventRows(events: readonly ViewEvent[], filter: string, width: number, height: number): Line[] {
  if (height < 2) return [];
  const title: Line = [
    { text: ' EVENTS', style: 'bold' },
    ...(filter ? [{ text: ` with ${clean(filter)}`, style: 'warn' as const }] : []),
  ];
  const rows = events
    .slice(0, height - 1)
    .reverse()
    .map((event) => cut(eventRow(event), width));
  if (rows.length === 0) rows.push([{ text: filter ? ' none that fits' : ' none yet', style: 'dim' }]);
  return [title, ...padded(rows, height - 1)];
}

export function padded(lines: readonly Line[], height: number): Line[] {
  return Array.from({ length: Math.max(0, height) }, (_, i) => lines[i] ?? []);
}

export function cut(line: Line, width: number): Line {
  const out: Span[] = [];
  let left = width;
  for (const span of line) {
    if (left <= 0) break;
    out.push(span.text.length <= left ? span : { ...span, text: fit(span.text, left) });
    left -= span.text.length;
  }
  return out;
}
