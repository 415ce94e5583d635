import type { Signal } from './batch.ts';
import type { Attributes } from './catalogue.ts';
import type { Graph } from './graph.ts';
import { itemNouns } from './items.ts';
import type { Reading } from './telemetry/cells.ts';

/**
 * Proves from the agent's own metrics that nothing is lost silently: at every component and between them,
 * received + created = sent + dropped + queued.
 */

/** One place where the sums must agree. */
export interface Account {
  /** `processor pod in metrics`, `pipeline logs → exporter otlp`. */
  readonly where: string;
  readonly received: number;
  readonly sent: number;
  readonly dropped: number;
  /** Held now: what a queue holds; for a processor what neither went out nor was dropped (0 once it is flushed). */
  readonly queued: number;
}

export interface AccountingOptions {
  /** Every stage is flushed: a processor holds nothing. */
  readonly flushed?: boolean;
  /** The graph has been the same since the start: the ways between components are checked too. */
  readonly sameGraph?: boolean;
}

/** @returns the accounts that do not balance, none when all is well. */
export function unbalanced(
  readings: readonly Reading[],
  graph: Graph,
  options: AccountingOptions = {},
): readonly Account[] {
  const all = [
    ...componentAccounts(readings, graph, options),
    ...(options.sameGraph ? wayAccounts(readings, graph) : []),
  ];
  return all.filter((a) => a.received !== a.sent + a.dropped + a.queued || a.queued < 0);
}

function componentAccounts(readings: readonly Reading[], graph: Graph, options: AccountingOptions): Account[] {
  const out: Account[] = [];
  for (const { key } of graph.stages.values()) {
    const at = { processor: key.id, pipeline: key.pipeline! };
    const get = (name: string) => sum(readings, `otelcol_processor_${name}`, at);
    const received = get('incoming_items') + get('created_items');
    const sent = get('outgoing_items');
    const dropped = get('dropped_items');
    const queued = options.flushed ? 0 : received - sent - dropped;
    out.push({ where: `processor ${key.id} in ${key.pipeline}`, received, sent, dropped, queued });
  }
  return out;
}

function wayAccounts(readings: readonly Reading[], graph: Graph): Account[] {
  const out: Account[] = [];
  const offered = new Map<string, number>();
  for (const p of graph.config.pipelines) {
    const signals: readonly Signal[] = [p.signal, 'entities'];
    let flow = new Map(signals.map((signal): [Signal, number] => [signal, accepted(readings, p.receivers, signal)]));
    let from = 'receivers';
    for (const id of p.processors) {
      const at = (signal: Signal) => ({ processor: id, pipeline: p.id, 'otel.signal': signal });
      for (const signal of signals) {
        const sent = sum(readings, 'otelcol_processor_incoming_items', at(signal));
        const where = `pipeline ${p.id}: ${signal} from ${from} to ${id}`;
        out.push({ where, received: flow.get(signal)!, sent, dropped: 0, queued: 0 });
      }
      flow = new Map(signals.map((signal) => [signal, sum(readings, 'otelcol_processor_outgoing_items', at(signal))]));
      from = id;
    }
    for (const id of p.exporters) {
      const takes = graph.sinks.get(id)!.node.signals;
      const items = signals.filter((s) => takes.includes(s)).reduce((n, s) => n + flow.get(s)!, 0);
      offered.set(id, (offered.get(id) ?? 0) + items);
    }
  }
  for (const [id, received] of offered) out.push(exporterAccount(readings, id, received));
  return out;
}

function exporterAccount(readings: readonly Reading[], id: string, received: number): Account {
  const get = (verb: string) =>
    Object.values(itemNouns).reduce(
      (n, noun) => n + sum(readings, `otelcol_exporter_${verb}_${noun}`, { exporter: id }),
      0,
    );
  const queued = sum(readings, 'otelcol_exporter_queue_size', { exporter: id });
  const dropped = get('send_failed') + get('enqueue_failed');
  return { where: `exporter ${id}`, received, sent: get('sent'), dropped, queued };
}

function accepted(readings: readonly Reading[], receivers: readonly string[], signal: Signal): number {
  return receivers.reduce(
    (n, id) => n + sum(readings, `otelcol_receiver_accepted_${itemNouns[signal]}`, { receiver: id }),
    0,
  );
}

function sum(readings: readonly Reading[], name: string, at: Attributes): number {
  const points = readings.find((r) => r.name === name)?.points ?? [];
  const wanted = Object.entries(at);
  return points.filter((p) => wanted.every(([k, v]) => p.attributes[k] === v)).reduce((n, p) => n + p.value, 0);
}
