import { type Quantity, quantityNames } from '../../view/quantities.ts';
import type { Counts, PodSummary } from '../../view/types.ts';
import { fitColumns, listed } from './columns.ts';
import type { Data } from './data.ts';
import { latencyRows, nodeLines } from './list-page.ts';
import { clean, fit, type Line, number, plainLine } from './text.ts';

/** Columns of a table that goes to a file or a pipe: enough for all of them. */
const tableWidth = 200;

/** Names behind a drop reason. */
const mostNames = 5;

/** The node as a table, each line ended, an empty line at the end. */
export function tableText(data: Data, limit: number): string {
  const { drops, latencies, node, timeMs } = data;
  const pods = listed(data.pods, false);
  const shown = fitColumns(tableWidth);
  const lines: Line[] = [
    [{ text: `${new Date(timeMs).toISOString()} ${clean(node.name)}` }],
    ...nodeLines(data, tableWidth),
    [{ text: shown.map((c) => ` ${fit(c.title, c.width, c.align)}`).join('') }],
    ...pods
      .slice(0, limit)
      .map((pod): Line => [{ text: shown.map((c) => ` ${fit(c.text(pod), c.width, c.align)}`).join('') }]),
    [],
  ];
  if (pods.length > limit) lines.splice(-1, 0, [{ text: ` and ${pods.length - limit} more` }]);
  for (const d of drops.filter((d) => d.recent > 0)) {
    const [reason = '', location = ''] = d.labels;
    const whose = d.subjects.filter((s) => s.recent > 0).map((s) => `${clean(s.name)} ${number(s.recent)}`);
    const names = whose.length > mostNames ? [...whose.slice(0, mostNames), `${whose.length - mostNames} more`] : whose;
    const what = [number(d.recent), clean(reason), clean(location)].filter(Boolean).join(' ');
    lines.push([{ text: ` dropped ${what}: ${names.join(', ')}` }]);
  }
  if (latencies.length > 0) lines.push([], ...latencyRows(latencies).map((row): Line => [{ text: ' ' }, ...row]), []);
  return `${lines.map(plainLine).join('\n').trimEnd()}\n\n`;
}

/** The same as one line of JSON. What is not observed is left out. */
export function jsonText({ timeMs, windowMs, node, pods, drops, latencies }: Data): string {
  const out = {
    time: new Date(timeMs).toISOString(),
    window: windowMs / 1000,
    node: {
      name: node.name,
      pods: node.pods,
      inTrouble: node.inTrouble,
      untracked: node.untracked,
      conntrack: node.conntrack,
      rates: observed(node.rates),
      recent: observed(node.recent),
    },
    pods: pods.map(podJson),
    drops: drops.map(({ labels: [reason, location], recent, total, subjects }) => ({
      reason,
      location,
      recent,
      total,
      pods: subjects.map(({ key, name, recent }) => ({ key, name, recent })),
    })),
    latencies: latencies.map(({ latency, count, mean, p50, p90, p99, max }) => ({
      latency,
      count,
      mean,
      p50,
      p90,
      p99,
      max,
    })),
  };
  // JSON leaves some characters as they are that a terminal obeys: U+009B begins a control sequence, U+202E turns the line round.
  return `${JSON.stringify(out).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped)}\n`;
}

/** One or, beyond the basic plane, two units. */
function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}

function podJson(pod: PodSummary) {
  const { key, kind, name, namespace, hostNetwork, state, ips, trouble, worst, rates, recent } = pod;
  return {
    key,
    kind,
    name,
    namespace,
    hostNetwork,
    state,
    ips,
    trouble,
    worst,
    rates: observed(rates),
    recent: observed(recent),
  };
}

function observed(counts: Counts): Partial<Record<Quantity, number>> {
  return Object.fromEntries(quantityNames.flatMap((q) => (counts[q] === undefined ? [] : [[q, counts[q]]])));
}
