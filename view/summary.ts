import { upperBounds } from '../pipeline/batch.ts';
import { distributionOf } from './distribution.ts';
import { labelSeparator, planOf } from './plan.ts';
import {
  gauges,
  type Latency,
  latencies,
  latencyNames,
  type Quantity,
  quantityIndex,
  quantityNames,
} from './quantities.ts';
import { lookUp, stepNow, type ViewState, windowStart } from './state.ts';
import { nodeKey, type Subject } from './subject.ts';
import { troubleOf, type Worst } from './trouble.ts';
import type {
  Breakdown,
  Conntrack,
  Counts,
  DropReason,
  LatencyHistory,
  LatencySummary,
  NodeSummary,
  PodSummary,
  SubjectHistory,
} from './types.ts';

function countsOf(state: ViewState, value: (column: number) => number): Counts {
  return Object.fromEntries(
    quantityNames.map((name, column) => [name, state.observed.has(column) ? value(column) : undefined]),
  ) as Record<Quantity, number | undefined>;
}

function recentOf(subject: Subject, state: ViewState): Counts {
  const from = windowStart(state);
  const to = stepNow(state);
  return countsOf(state, (column) => subject.history.sum(from, to, column));
}

function ratesOf(subject: Subject, state: ViewState): Counts {
  const sums = new Float64Array(quantityNames.length);
  for (const source of state.sources.values()) {
    for (const [column, rate] of source.rates(subject) ?? []) sums[column] = sums[column]! + rate;
  }
  return countsOf(state, (column) => sums[column]!);
}

export function podSummary(subject: Subject, state: ViewState): PodSummary {
  const recent = recentOf(subject, state);
  const { score, worst } = troubleOf((q) => recent[q]);
  const { entity } = subject;
  return {
    key: subject.key,
    kind: subject.kind,
    name: subject.kind === 'node' ? state.nodeName : subject.name,
    namespace: subject.kind === 'node' ? '-' : subject.namespace,
    hostNetwork: entity?.hostNetwork ?? subject.kind === 'node',
    state: entity?.state,
    ips: entity?.ips ?? [],
    resource: subject.resource?.attributes ?? {},
    trouble: score,
    worst: worst && { ...worst, ...mostOften(subject, worst.quantity, state) },
    rates: ratesOf(subject, state),
    recent,
  };
}

export function nodeSummary(state: ViewState): NodeSummary {
  const all = [...state.subjects.values()].map((s) => podSummary(s, state));
  const strays = podSummary(state.strays, state);
  const pods = all.filter((s) => s.kind !== 'node');
  const sum = (of: (s: PodSummary) => Counts) =>
    countsOf(state, (column) => [...all, strays].reduce((n, s) => n + (of(s)[quantityNames[column]!] ?? 0), 0));
  const node = state.subjects.get(nodeKey);
  return {
    name: state.nodeName,
    pods: pods.length,
    inTrouble: pods.filter((p) => p.trouble > 0).length,
    own: all.find((s) => s.kind === 'node'),
    rates: sum((s) => s.rates),
    recent: sum((s) => s.recent),
    conntrack: node && conntrackOf(node, state),
    sources: [...state.sources.values()]
      .map(({ source, timeMs, batches }) => ({ source, timeMs, collections: batches }))
      .sort((a, b) => (a.source < b.source ? -1 : 1)),
    untracked: state.untracked.size,
  };
}

/** First label of what a quantity was most often in the window. */
function mostOften(subject: Subject, quantity: Quantity, state: ViewState): Pick<Worst, 'label' | 'labelCount'> {
  let most = 0;
  let label = '';
  for (const [labels, n] of subject.occurrences.since(windowStart(state), quantityIndex[quantity])) {
    if (n <= most) continue;
    most = n;
    [label = ''] = labels.split(labelSeparator);
  }
  return label === '' ? {} : { label, labelCount: most };
}

export function conntrackOf(subject: Subject, state: ViewState): Conntrack | undefined {
  const [entries] = lookUp(subject, gauges.conntrackEntries, state);
  const [limit] = lookUp(subject, gauges.conntrackLimit, state);
  return entries && { entries: entries.value, limit: limit?.value };
}

/** What a quantity consists of, by its `by` attributes: most in the window first. */
export function breakdown(subject: Subject, quantity: Quantity, state: ViewState): Breakdown[] {
  const column = quantityIndex[quantity];
  const recent = subject.occurrences.since(windowStart(state), column);
  const totals = new Map<string, number>();
  for (const source of state.sources.values()) {
    for (const { schema, values } of source.subjects.get(subject) ?? []) {
      for (const { quantity: q, label = '', slot } of planOf(schema).counters) {
        const value = values[slot]!;
        if (q === column && value > 0) totals.set(label, (totals.get(label) ?? 0) + value);
      }
    }
  }
  return [...new Set([...recent.keys(), ...totals.keys()])]
    .map((label) => ({
      labels: label.split(labelSeparator),
      recent: recent.get(label) ?? 0,
      total: totals.get(label) ?? 0,
    }))
    .sort((a, b) => b.recent - a.recent || b.total - a.total);
}

export function dropReasons(state: ViewState): DropReason[] {
  const reasons = new Map<string, { row: Breakdown; subjects: DropReason['subjects'][number][] }>();
  for (const subject of state.subjects.values()) {
    const name = subject.kind === 'node' ? state.nodeName : subject.name;
    for (const row of breakdown(subject, 'drops', state)) {
      const key = row.labels.join(labelSeparator);
      const found = reasons.get(key) ?? { row: { labels: row.labels, recent: 0, total: 0 }, subjects: [] };
      const { recent, total } = found.row;
      found.row = { ...found.row, recent: recent + row.recent, total: total + row.total };
      found.subjects.push({ key: subject.key, kind: subject.kind, name, recent: row.recent });
      reasons.set(key, found);
    }
  }
  return [...reasons.values()]
    .map(({ row, subjects }) => ({ ...row, subjects: subjects.sort((a, b) => b.recent - a.recent) }))
    .sort((a, b) => b.recent - a.recent || b.total - a.total);
}

/** Distributions over the window, of all these subjects together. */
export function summarize(subjects: readonly Subject[], state: ViewState): LatencySummary[] {
  const from = windowStart(state);
  const out: LatencySummary[] = [];
  latencyNames.forEach((latency, i) => {
    const histories = subjects.flatMap((s) => s.latencies.get(i) ?? []);
    const [first] = histories;
    if (!first) return;
    const sum = first.since(from);
    for (const other of histories.slice(1)) {
      const more = other.since(from);
      for (let at = 0; at < sum.length; at++) sum[at] = sum[at]! + more[at]!;
    }
    const distribution = distributionOf(first.layout, sum);
    if (distribution) out.push({ latency, label: latencies[latency].label, ...distribution });
  });
  return out;
}

function steps(state: ViewState): number[] {
  const last = stepNow(state);
  return Array.from({ length: state.points }, (_, i) => last - state.points + 1 + i);
}

export function subjectHistory(subject: Subject, state: ViewState): SubjectHistory {
  const { stepMs } = state;
  const grid = steps(state);
  const values: Partial<Record<Quantity, readonly number[]>> = {};
  quantityNames.forEach((name, column) => {
    if (!state.observed.has(column)) return;
    values[name] = grid.map((step) => (subject.history.at(step, column) * 1000) / stepMs);
  });
  return { stepMs, timesMs: grid.map((step) => step * stepMs), values };
}

export function latencyHistory(subject: Subject, latency: Latency, state: ViewState): LatencyHistory | undefined {
  const buckets = subject.latencies.get(latencyNames.indexOf(latency));
  if (!buckets) return undefined;
  const grid = steps(state);
  return {
    stepMs: state.stepMs,
    timesMs: grid.map((step) => step * state.stepMs),
    bounds: upperBounds(buckets.layout),
    counts: grid.map((step) => buckets.at(step)),
  };
}
