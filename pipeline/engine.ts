import { type Built, cannotStart, type EngineParts, type GraphParts } from './build.ts';
import type { NodeIdentity } from './component.ts';
import type { AgentConfig } from './config.ts';
import { describeGraph } from './describe.ts';
import { AgentError, errnoOf, messageOf } from './errors.ts';
import { type Graph, link, type Plan, plan } from './graph.ts';
import { nothingRuns, type ServiceDescription } from './service-view.ts';
import type { Sink } from './sink.ts';
import type { Stage } from './stage.ts';
import type { ComponentReport } from './states.ts';
import { stateNames } from './states.ts';

export type { EngineParts } from './build.ts';

/**
 * Runs what a config says: starts exporters, then processors, then receivers; stops them the other way round. One change (start,
 * reload, stop) at a time.
 */
export class Engine {
  readonly #parts: GraphParts;
  #graph: Graph | undefined;
  #changing: Promise<unknown> = Promise.resolve();
  #isStopped = false;

  constructor(parts: EngineParts) {
    this.#parts = { ...parts, service: { describe: () => this.describe() } };
    parts.telemetry.gauge('otelcol_component_state', '1', 'Whether a component is in this state.', () =>
      this.reports().flatMap(({ kind, id, pipeline, state }) =>
        stateNames.map((name): [number, Record<string, string>] => [
          state.state === name ? 1 : 0,
          { kind, component: id, ...(pipeline === undefined ? {} : { pipeline }), state: name },
        ]),
      ),
    );
  }

  /** What runs now. */
  get graph(): Graph | undefined {
    return this.#graph;
  }

  /** Every component's state. */
  reports(): ComponentReport[] {
    const graph = this.#graph;
    return this.#parts.states.list().map(({ key, state }) => {
      const telemetry =
        graph &&
        [...graph.sources.values(), ...graph.stages.values(), ...graph.sinks.values()].find(
          (b) => b.key.kind === key.kind && b.key.id === key.id && b.key.pipeline === key.pipeline,
        )?.telemetry;
      return {
        ...key,
        state,
        absent: Object.fromEntries(telemetry?.absences ?? []),
        failing: telemetry?.failing ?? [],
      };
    });
  }

  /** What runs, how it is joined, and how much went where. Empty before the start. */
  describe(): ServiceDescription {
    return this.#graph
      ? describeGraph(this.#graph, this.reports(), this.#parts.clock.monotonicMs())
      : nothingRuns.describe();
  }

  /**
   * Starts, or changes over to, a config. What is the same in both keeps running.
   *
   * @throws AgentError when a component cannot be made or an exporter cannot start: then what ran before runs on.
   */
  async apply(
    config: AgentConfig,
    identity: NodeIdentity,
  ): Promise<{ readonly replaced: readonly string[]; readonly kept: number }> {
    return this.#exclusive(async () => {
      if (this.#isStopped) throw new AgentError('E_STOPPED', 'The engine is stopped.');
      const before = this.#graph;
      const change = plan(config, identity, before, this.#parts);
      const late = await this.#startExporters(change);
      try {
        await this.#commit(change, late);
      } catch (error) {
        if (before) await this.#restore(before, error).catch((e) => this.#lost(e));
        else await Promise.all(change.fresh.sinks.map(({ node }) => node.stop(AbortSignal.abort())));
        throw error;
      }
      const { fresh, graph } = change;
      const replaced = [...fresh.sources, ...fresh.stages, ...fresh.sinks].map((b) => b.key.id);
      return { replaced, kept: graph.sources.size + graph.stages.size + graph.sinks.size - replaced.length };
    });
  }

  /** Drains and stops everything until `signal` aborts; what is queued in memory then is counted as dropped. Twice is safe. */
  async stop(signal: AbortSignal): Promise<void> {
    return this.#exclusive(async () => {
      const graph = this.#graph;
      const isFirst = !this.#isStopped;
      this.#isStopped = true;
      if (!graph || !isFirst) return;
      for (const { node } of graph.sources.values()) node.stop();
      await Promise.all([...graph.chains.values()].map((chain) => chain.flush(signal)));
      await Promise.all([...graph.sinks.values()].map(({ node }) => node.stop(signal)));
    });
  }

  /** @returns the exporters that must wait for the one they replace to let go of an address. */
  async #startExporters(change: Plan): Promise<Set<Sink>> {
    const late = new Set<Sink>();
    const started: Sink[] = [];
    const replacedIds = new Set(change.gone.sinks.map((b) => b.key.id));
    for (const { node } of change.fresh.sinks) {
      try {
        await node.startExporter();
        started.push(node);
      } catch (error) {
        if (replacedIds.has(node.id) && isAddressInUse(error)) {
          late.add(node);
          continue;
        }
        for (const sink of [...started, node]) await sink.stop(AbortSignal.abort());
        change.discard();
        throw cannotStart(node.component, error);
      }
    }
    return late;
  }

  async #commit(change: Plan, late: ReadonlySet<Sink>): Promise<void> {
    const { fresh, gone, graph } = change;
    const before = this.#graph;
    const { shutdown_timeout } = (before ?? graph).config.service;
    const deadline = deadlineAfter(this.#parts, shutdown_timeout);
    try {
      const isReplaced = (id: string) => gone.sinks.some((b) => b.key.id === id);
      for (const { node } of fresh.sinks) if (!isReplaced(node.id)) await node.startQueue();

      // From here to `link` nothing waits: no batch can slip between the old ways and the new ones.
      for (const { node } of gone.sources) node.stop();
      for (const { node } of fresh.stages) node.start();
      const flushed = flushByPipeline(gone.stages, deadline.signal);
      this.#graph = graph;
      link(change);
      for (const { node } of fresh.sources) node.start();

      await flushed;
      await Promise.all(gone.sinks.map(({ node }) => node.stop(deadline.signal)));
      for (const { node } of fresh.sinks) {
        if (!isReplaced(node.id)) continue;
        if (late.has(node)) await this.#startLate(node);
        await node.startQueue();
      }
    } finally {
      deadline.cancel();
    }
    this.#forget(change);
  }

  async #startLate(node: Sink): Promise<void> {
    try {
      await node.startExporter();
    } catch (error) {
      throw cannotStart(node.component, error);
    }
  }

  /** Ends the series and states of what is gone for good. */
  #forget({ gone, graph }: Plan): void {
    const isGone = { receiver: graph.sources, processor: graph.stages, exporter: graph.sinks };
    for (const built of [...gone.sources, ...gone.stages, ...gone.sinks]) {
      const { kind, id, pipeline } = built.key;
      if (isGone[kind].has(pipeline === undefined ? id : `${pipeline} ${id}`)) continue;
      this.#parts.telemetry.forget(built.telemetry);
      this.#parts.states.delete(built.key);
    }
  }

  /** A change that failed half way is undone by changing back. */
  async #restore(before: Graph, cause: unknown): Promise<void> {
    this.#parts.log.error({ error: messageOf(cause) }, 'The change failed half way; going back to what ran before.');
    const back = plan(before.config, before.identity, this.#graph, this.#parts);
    const late = await this.#startExporters(back);
    await this.#commit(back, late);
  }

  #lost(error: unknown): void {
    this.#parts.log.fatal(
      { error: messageOf(error) },
      'What ran before could not be started again: restart the agent.',
    );
  }

  /** Least severity of every component's log. */
  setLogLevel(level: string): void {
    const graph = this.#graph;
    if (!graph) return;
    for (const { log } of [...graph.sources.values(), ...graph.stages.values(), ...graph.sinks.values()])
      log.level = level;
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(work, work);
    this.#changing = turn.catch(() => {});
    return turn;
  }
}

/** In each pipeline one after the other, so that what one stage held still passes the next. The first of each starts at once. */
async function flushByPipeline(stages: readonly Built<Stage>[], signal: AbortSignal): Promise<void> {
  const chains = Map.groupBy(stages, (b) => b.node.pipeline);
  await Promise.all(
    [...chains.values()].map(async (chain) => {
      for (const { node } of chain) await node.flush(signal);
    }),
  );
}

function isAddressInUse(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (errnoOf(at) === 'EADDRINUSE') return true;
  return false;
}

/** A signal that aborts after a time, on the engine's clock. */
export function deadlineAfter(parts: Pick<EngineParts, 'clock'>, ms: number) {
  const controller = new AbortController();
  const timer = parts.clock.scheduler.schedule(() => controller.abort(), ms);
  return { signal: controller.signal, cancel: () => timer.unsubscribe() };
}
