import { filter, map } from 'rxjs';
import type {
  Batch,
  LogRecord,
  LogsBatch,
  MetricsBatch,
  Resource,
  Schema,
  SeriesDescriptor,
  Snapshot,
} from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { FilterConfig } from './config.ts';
import { compileRules, type Verdict } from './pattern.ts';
import { applyPlan, planSchema, pointsIn, type SchemaPlan } from './schema-filter.ts';

/** What event lines and this filter call the node's own namespace. */
const hostNetwork = 'hostNetwork';

/** Makes the processor. Entities always pass: other processors need all of them. */
export function createProcessor(config: FilterConfig, context: ComponentContext): Processor {
  const rules = compile(config);
  const { telemetry } = context;
  return (source$) => {
    const plans = new WeakMap<Schema, SchemaPlan | null>();
    const owners = new WeakMap<Resource, boolean>();
    const ownerStays = (resource: Resource): boolean => {
      let stays = owners.get(resource);
      if (stays === undefined) {
        stays = rules.owner(resource.attributes);
        owners.set(resource, stays);
      }
      return stays;
    };
    const planOf = (schema: Schema): SchemaPlan | null => {
      let plan = plans.get(schema);
      if (plan === undefined) {
        plan = planSchema(schema, rules.series) ?? null;
        plans.set(schema, plan);
      }
      return plan;
    };
    const metrics = (batch: MetricsBatch): MetricsBatch => {
      const snapshots: Snapshot[] = [];
      let points = 0;
      for (const snapshot of batch.snapshots) {
        if (!ownerStays(snapshot.resource)) {
          points += pointsIn(snapshot, snapshot.schema.series);
          continue;
        }
        const plan = planOf(snapshot.schema);
        if (plan !== null) points += pointsIn(snapshot, plan.dropped);
        if (plan === null) snapshots.push(snapshot);
        else if (plan.schema.series.length > 0) snapshots.push(applyPlan(snapshot, plan));
      }
      if (points > 0) telemetry.dropped('filtered', points, 'metrics');
      const same = snapshots.length === batch.snapshots.length && snapshots.every((s, i) => s === batch.snapshots[i]);
      // An empty batch goes on: it says that what was there is gone.
      return same ? batch : Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) });
    };
    const logs = (batch: LogsBatch): LogsBatch | undefined => {
      const records = batch.records.filter((r) => ownerStays(r.resource) && rules.record(r));
      const gone = batch.records.length - records.length;
      if (gone === 0) return batch;
      telemetry.dropped('filtered', gone, 'logs');
      return records.length === 0 ? undefined : Object.freeze({ ...batch, records: Object.freeze(records) });
    };
    const one = (batch: Batch): Batch | undefined =>
      batch.kind === 'metrics' ? metrics(batch) : batch.kind === 'logs' ? logs(batch) : batch;
    return source$.pipe(
      map(one),
      filter((batch) => batch !== undefined),
    );
  };
}

interface Compiled {
  readonly series: (series: SeriesDescriptor) => boolean;
  readonly record: (record: LogRecord) => boolean;
  readonly owner: (attributes: Attributes) => boolean;
}

function compile(config: FilterConfig): Compiled {
  const metric = compileRules(config.metrics);
  const event = compileRules(config.events);
  const namespace = compileRules(config.namespaces);
  const pod = compileRules(config.pods);
  const attributes = Object.entries(config.attributes).flatMap(([key, rules]): [string, Verdict][] => {
    const verdict = compileRules(rules);
    return verdict === undefined ? [] : [[key, verdict]];
  });
  const attributesStay = (own: Attributes) =>
    attributes.every(([key, verdict]) => own[key] === undefined || verdict(String(own[key])));
  return {
    series: (s) => (metric?.(s.metric.name) ?? true) && attributesStay(s.attributes),
    record: (r) => (event?.(...namesOf(r)) ?? true) && attributesStay(r.attributes),
    owner: (own) =>
      (namespace?.(nameIn(own, 'k8s.namespace.name')) ?? true) && (pod?.(nameIn(own, 'k8s.pod.name')) ?? true),
  };
}

/** An event goes by its event name and by its KubeSkoop type. */
function namesOf({ eventName, attributes }: LogRecord): readonly string[] {
  const type = attributes['kubeskoop.type'];
  return typeof type === 'string' ? [eventName, type] : [eventName];
}

/** The node counts as `hostNetwork`; a namespace that is no pod has no name at all. */
function nameIn(own: Attributes, key: string): string {
  return String(own[key] ?? (own['skoop.netns.inode'] === undefined ? hostNetwork : ''));
}
