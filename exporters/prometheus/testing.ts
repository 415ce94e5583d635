import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type Exemplar, type MetricsBatch, makeSchema, type Owner, type Resource } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { testContext } from '../../pipeline/testing.ts';
import { parseAdditionalLabel } from './additional-labels.ts';
import { type Config, config } from './config.ts';
import { PrometheusExporter } from './exporter.ts';
import { renderProtobuf } from './protobuf.ts';
import { ResourceLabels } from './resource-labels.ts';
import { State } from './state.ts';
import { renderText } from './text.ts';
import type { View } from './view.ts';

/** What this exporter's tests share: small batches, whole renderings, and a scraper. Used by tests only. */

export interface SeriesInput {
  readonly metric: MetricDefinition;
  readonly attributes?: Attributes;
  /** A number, or a histogram's slots. */
  readonly value: number | readonly number[];
  /** Of a histogram. */
  readonly exemplar?: Omit<Exemplar, 'offset'>;
}

export interface SnapshotInput {
  readonly resource?: Resource;
  readonly owner?: Owner;
  readonly startTimeMs?: number;
  readonly series: readonly SeriesInput[];
}

export const podA: Resource = pod('web-1', 'shop');
export const podB: Resource = pod('db-0', 'shop');

export function pod(name: string, namespace: string, more: Attributes = {}): Resource {
  return {
    attributes: { 'k8s.node.name': 'node-1', 'k8s.namespace.name': namespace, 'k8s.pod.name': name, ...more },
  };
}

export function metricsBatch(
  source: string,
  snapshots: readonly SnapshotInput[],
  scope = { name: 'test' },
): MetricsBatch {
  return {
    kind: 'metrics',
    source,
    scope,
    snapshots: snapshots.map((s) => {
      const schema = makeSchema(s.series);
      const exemplars = s.series.flatMap(({ exemplar }, i) =>
        exemplar ? [{ ...exemplar, offset: schema.series[i]!.offset }] : [],
      );
      return {
        owner: s.owner ?? { netns: 1 },
        resource: s.resource ?? podA,
        startTimeMs: s.startTimeMs ?? 1_700_000_000_000,
        timeMs: 1_700_000_015_000,
        schema,
        values: Float64Array.from(s.series.flatMap((x) => x.value)),
        ...(exemplars.length > 0 && { exemplars }),
      };
    }),
  };
}

export function parseConfig(input: Record<string, unknown> = {}): Config {
  return config.parse(input);
}

/** A view as the exporter makes it; without its own `skoop.source.collection.timestamp` and, unless asked for, `target_info`. */
export function viewOf(batches: readonly MetricsBatch[], input: Record<string, unknown> = {}): View {
  const c = parseConfig({ target_info: false, ...input });
  const labels = new ResourceLabels({
    naming: c.naming,
    resourceLabels: c.resource_labels,
    anonymousLabels: c.anonymous_resource_labels,
    additionalLabels: c.additional_labels.map((t) => parseAdditionalLabel(t)).filter((l) => typeof l !== 'string'),
    constLabels: c.const_labels,
    scopeLabels: c.scope_labels,
    nodeName: 'node-1',
  });
  const state = new State(
    {
      naming: c.naming,
      extras: c.kubeskoop_extras,
      targetInfo: c.target_info,
      expirationMs: c.metric_expiration,
      nodeName: 'node-1',
    },
    testContext().clock,
    labels,
  );
  for (const batch of batches) state.put(batch);
  const view = state.view()!;
  return { ...view, families: view.families.filter((f) => !f.family.name.startsWith('skoop_source_collection')) };
}

export function textOf(view: View, format: 'text' | 'openmetrics' = 'text', maxBuckets = 200): string {
  return Buffer.concat([...renderText(view, format, Buffer.alloc, maxBuckets)].map((c) => Buffer.from(c))).toString();
}

export function protobufOf(view: View, maxBuckets = 200): Buffer {
  return Buffer.concat([...renderProtobuf(view, Buffer.alloc, maxBuckets)].filter((c) => c !== null));
}

/** A running exporter on a free port of the loopback (or on a unix socket), closed when the test ends. */
export async function startExporter(
  t: { after(f: () => Promise<void>): void },
  input: Record<string, unknown> = {},
): Promise<{ exporter: PrometheusExporter; context: ReturnType<typeof testContext> }> {
  const context = testContext();
  const exporter = new PrometheusExporter(parseConfig({ endpoint: '127.0.0.1:0', ...input }), {
    ...context,
    clock: systemClock,
  });
  await exporter.start();
  t.after(() => exporter.stop(AbortSignal.abort()));
  return { exporter, context };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One request on a connection of its own. */
export function get(
  target: { readonly port?: number | undefined; readonly socketPath?: string },
  options: { path?: string; method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        ...(target.socketPath === undefined
          ? { host: '127.0.0.1', port: target.port }
          : { socketPath: target.socketPath }),
        path: '/metrics',
        agent: false,
        ...options,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (c: Buffer) => chunks.push(c));
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      },
    );
    request.on('error', reject);
    request.end();
  });
}
