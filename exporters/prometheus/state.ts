import {
  type MetricsBatch,
  makeSchema,
  noResource,
  type Resource,
  type Schema,
  type Scope,
  type Snapshot,
} from '../../pipeline/batch.ts';
import type { Clock } from '../../pipeline/clock.ts';
import { kubeskoopLayout } from './kubeskoop.ts';
import { type Layout, otelLayout } from './layout.ts';
import { metrics } from './metrics.ts';
import type { ResourceLabels } from './resource-labels.ts';
import { makeView, type View } from './view.ts';

export interface StateOptions {
  readonly naming: 'otel' | 'kubeskoop';
  readonly extras: boolean;
  readonly targetInfo: boolean;
  readonly expirationMs: number;
  readonly nodeName: string;
}

/**
 * The latest batch of each source. A batch is complete, so that it replaces the one before; a source that fell silent is forgotten
 * after a while. Batches are kept by reference and never changed: a view may go on being streamed while newer ones come.
 */
export class State {
  readonly #options: StateOptions;
  readonly #clock: Clock;
  readonly #labels: ResourceLabels;
  readonly #layouts = new WeakMap<Schema, Layout>();
  /** The same for pods under `naming: kubeskoop`. */
  readonly #podLayouts = new WeakMap<Schema, Layout>();
  readonly #sources = new Map<string, { batch: MetricsBatch; atMs: number; collectedMs: number }>();
  readonly #node: Resource;
  #view: View | undefined;
  #sourceSchema: { key: string; schema: Schema } | undefined;

  constructor(options: StateOptions, clock: Clock, labels: ResourceLabels) {
    this.#options = options;
    this.#clock = clock;
    this.#labels = labels;
    this.#node = { attributes: { 'k8s.node.name': options.nodeName } };
  }

  put(batch: MetricsBatch): void {
    const collectedMs = newestMs(batch) ?? this.#clock.nowMs();
    this.#sources.set(batch.source, { batch, atMs: this.#clock.monotonicMs(), collectedMs });
    this.#view = undefined;
  }

  /** Number of sources that are shown. */
  get sources(): number {
    this.#expire();
    return this.#sources.size;
  }

  /** Everything there is to show now; undefined when no source has sent anything (or not for a long time). */
  view(): View | undefined {
    this.#expire();
    if (this.#sources.size === 0) return undefined;
    if (this.#view) return this.#view;
    const batches = Array.from(this.#sources.values(), (s) => s.batch);
    const own = this.#collectionTimes();
    this.#view = makeView([...batches, own], (s) => this.#layoutOf(s), this.#labels, this.#options.targetInfo);
    return this.#view;
  }

  #expire(): void {
    const oldest = this.#clock.monotonicMs() - this.#options.expirationMs;
    for (const [source, { atMs }] of this.#sources) {
      if (atMs >= oldest) continue;
      this.#sources.delete(source);
      this.#view = undefined;
    }
  }

  #layoutOf(snapshot: Snapshot): Layout | undefined {
    if (this.#options.naming === 'kubeskoop' && isNameless(snapshot)) return undefined;
    const { naming, extras } = this.#options;
    // Some of KubeSkoop's names are the node's only, though pods have the same series here.
    const ofPod = naming === 'kubeskoop' && snapshot.resource.attributes['k8s.pod.name'] !== undefined;
    const layouts = ofPod ? this.#podLayouts : this.#layouts;
    let layout = layouts.get(snapshot.schema);
    if (!layout) {
      const { names } = this.#labels;
      layout =
        naming === 'kubeskoop'
          ? kubeskoopLayout(snapshot.schema, names, { extras, ofPod })
          : otelLayout(snapshot.schema, names);
      layouts.set(snapshot.schema, layout);
    }
    return layout;
  }

  /** `skoop.source.collection.timestamp`: a scrape shows values that were read a moment ago, and here is when. */
  #collectionTimes(): MetricsBatch {
    const names = [...this.#sources.keys()];
    const key = names.join('\n');
    if (this.#sourceSchema?.key !== key) {
      const metric = metrics['skoop.source.collection.timestamp'];
      const series = names.map((name) => ({ metric, attributes: { 'skoop.source': name } }));
      this.#sourceSchema = { key, schema: makeSchema(series) };
    }
    const values = Float64Array.from(this.#sources.values(), (s) => s.collectedMs / 1000);
    const timeMs = this.#clock.nowMs();
    const snapshot: Snapshot = {
      owner: undefined,
      resource: this.#node,
      startTimeMs: timeMs,
      timeMs,
      schema: this.#sourceSchema.schema,
      values,
    };
    return { kind: 'metrics', source: 'exporter/sources', scope: ownScope, snapshots: [snapshot] };
  }
}

const ownScope: Scope = { name: 'skoopline/exporters/prometheus' };

/** When the newest snapshot was read; undefined for a batch of none. */
function newestMs(batch: MetricsBatch): number | undefined {
  let newest: number | undefined;
  for (const s of batch.snapshots) if (newest === undefined || s.timeMs > newest) newest = s.timeMs;
  return newest;
}

/** What only the resource of something that is neither a pod nor the node has. */
const strangerKeys = ['skoop.netns.inode', 'container.id', 'k8s.pod.uid'];

/**
 * KubeSkoop's labels name a pod or (empty) the node. A network namespace that is neither, such as that of a container without
 * Kubernetes, would be shown as the node: KubeSkoop leaves those out, and so do we under its naming.
 */
function isNameless({ owner, resource }: Snapshot): boolean {
  if (resource.attributes['k8s.pod.name'] !== undefined) return false;
  // Without a processor that names owners, nothing tells the node's namespace from others.
  if (resource === noResource) return owner !== undefined;
  return strangerKeys.some((key) => resource.attributes[key] !== undefined);
}
