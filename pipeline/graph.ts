import { isDeepStrictEqual } from 'node:util';
import { type Built, buildSink, buildSource, buildStage, type GraphParts, reveal } from './build.ts';
import { Chain } from './chain.ts';
import type { NodeIdentity } from './component.ts';
import type { AgentConfig, ComponentConfig } from './config.ts';
import type { Sink } from './sink.ts';
import type { Source } from './source.ts';
import type { Stage } from './stage.ts';

/** What runs, by id. Stages by `<pipeline> <processor>`. */
export interface Graph {
  readonly config: AgentConfig;
  readonly identity: NodeIdentity;
  readonly sources: ReadonlyMap<string, Built<Source>>;
  readonly stages: ReadonlyMap<string, Built<Stage>>;
  readonly sinks: ReadonlyMap<string, Built<Sink>>;
  readonly chains: ReadonlyMap<string, Chain>;
}

/** A graph that could take the place of another: what it adds, what it no longer has. Nothing of it runs yet. */
export interface Plan {
  readonly graph: Graph;
  readonly fresh: { readonly sources: Built<Source>[]; readonly stages: Built<Stage>[]; readonly sinks: Built<Sink>[] };
  readonly gone: { readonly sources: Built<Source>[]; readonly stages: Built<Stage>[]; readonly sinks: Built<Sink>[] };
  /** Components that took their new config in place. */
  readonly reconfigured: readonly string[];
  /** Takes everything back that making the plan has done. */
  discard(): void;
}

type Kept = { readonly node: { component: ComponentConfig }; readonly telemetry: Built<unknown>['telemetry'] };

/**
 * Makes the nodes that `config` needs beyond those of `old`. A component stays when its id, kind and parsed config are the same, or
 * when it takes the new config in place.
 *
 * @throws AgentError when a component cannot be made; then everything is as it was.
 */
export function plan(config: AgentConfig, identity: NodeIdentity, old: Graph | undefined, parts: GraphParts): Plan {
  const undo: (() => void)[] = [];
  const reconfigured: string[] = [];
  const discard = () => {
    for (const take of undo.reverse()) take();
  };
  const mayStay = old !== undefined && old.identity.name === identity.name;

  /** The node of before, or a new one. */
  const obtain = <T extends Kept>(
    was: T | undefined,
    component: ComponentConfig,
    build: () => T,
    inPlace?: Reconfigurable,
  ): T => {
    if (was && mayStay) {
      if (isSame(was.node.component, component)) return was;
      if (takesInPlace(was.node, component, inPlace, undo)) {
        reconfigured.push(component.id);
        return was;
      }
    }
    const made = build();
    undo.push(() => {
      if (!was) parts.telemetry.forget(made.telemetry);
    });
    return made;
  };

  try {
    const used = usedComponents(config);
    const sinks = new Map<string, Built<Sink>>();
    for (const [id, c] of used.exporters) {
      const was = old?.sinks.get(id);
      sinks.set(
        id,
        obtain(was, c, () => buildSink(c, identity, parts), was?.node.exporter),
      );
    }
    const stages = new Map<string, Built<Stage>>();
    for (const pipeline of config.pipelines) {
      for (const id of pipeline.processors) {
        const c = config.processors.get(id)!;
        const key = stageKey(pipeline.id, id);
        stages.set(
          key,
          obtain(old?.stages.get(key), c, () => buildStage(c, pipeline.id, identity, parts)),
        );
      }
    }
    const sources = new Map<string, Built<Source>>();
    for (const [id, c] of used.receivers) {
      const was = old?.sources.get(id);
      sources.set(
        id,
        obtain(was, c, () => buildSource(c, identity, parts), was?.node.receiver),
      );
    }
    const chains = new Map<string, Chain>();
    for (const p of config.pipelines) chains.set(p.id, old?.chains.get(p.id) ?? new Chain(p, straysOf(p.id, parts)));
    const graph = { config, identity, sources, stages, sinks, chains };
    const fresh = {
      sources: missingFrom(old?.sources, sources),
      stages: missingFrom(old?.stages, stages),
      sinks: missingFrom(old?.sinks, sinks),
    };
    const gone = {
      sources: missingFrom(sources, old?.sources),
      stages: missingFrom(stages, old?.stages),
      sinks: missingFrom(sinks, old?.sinks),
    };
    return { graph, fresh, gone, reconfigured, discard };
  } catch (error) {
    discard();
    throw error;
  }
}

/** Connects the nodes as the config says. From now on data takes the new ways. */
export function link({ graph, fresh, gone }: Pick<Plan, 'graph' | 'fresh' | 'gone'>): void {
  for (const built of [...gone.sources, ...gone.stages, ...gone.sinks]) built.gate.close();
  for (const built of [...fresh.sinks, ...fresh.stages, ...fresh.sources]) reveal(built);
  for (const p of graph.config.pipelines) {
    const stages = p.processors.map((id) => graph.stages.get(stageKey(p.id, id))!.node);
    const sinks = p.exporters.map((id) => graph.sinks.get(id)!.node);
    graph.chains.get(p.id)!.link(stages, sinks);
  }
  for (const [id, { node }] of graph.sources) {
    const chains = graph.config.pipelines.filter((p) => p.receivers.includes(id)).map((p) => graph.chains.get(p.id)!);
    const queues = [...new Set(chains.flatMap((c) => c.sinks))].map((s) => s.pressure$);
    node.connect(chains, queues);
  }
  const renewed = new Set(fresh.stages.map(({ node }) => node.pipeline));
  for (const p of graph.config.pipelines) {
    if (!renewed.has(p.id)) continue;
    for (const id of p.receivers) graph.sources.get(id)!.node.repeatEntities(graph.chains.get(p.id)!);
  }
}

interface Reconfigurable {
  reconfigure?(config: unknown): boolean;
}

function takesInPlace(
  node: { component: ComponentConfig },
  component: ComponentConfig,
  instance: Reconfigurable | undefined,
  undo: (() => void)[],
): boolean {
  const before = node.component;
  if (before.declaration !== component.declaration || !instance?.reconfigure?.(component.config)) return false;
  node.component = component;
  undo.push(() => {
    instance.reconfigure?.(before.config);
    node.component = before;
  });
  return true;
}

function isSame(a: ComponentConfig, b: ComponentConfig): boolean {
  return a.kind === b.kind && a.declaration === b.declaration && isDeepStrictEqual(a.config, b.config);
}

function usedComponents(config: AgentConfig) {
  const pick = (section: 'receivers' | 'exporters') => {
    const ids = new Set(config.pipelines.flatMap((p) => p[section]));
    return new Map([...config[section]].filter(([id]) => ids.has(id)));
  };
  return { receivers: pick('receivers'), exporters: pick('exporters') };
}

function missingFrom<T>(here: ReadonlyMap<string, T> | undefined, there: ReadonlyMap<string, T> | undefined): T[] {
  return [...(there ?? [])].filter(([id, node]) => here?.get(id) !== node).map(([, node]) => node);
}

function straysOf(pipeline: string, parts: GraphParts) {
  const words = 'Items of a signal that no exporter of the pipeline gets.';
  return parts.telemetry.counter('otelcol_pipeline_dropped_items', '{item}', words, {
    pipeline,
    reason: 'other_signal',
  });
}

/** Key of a processor's instance in a pipeline. */
export function stageKey(pipeline: string, processor: string): string {
  return `${pipeline} ${processor}`;
}
