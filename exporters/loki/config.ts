import { z } from 'zod';
import { bytes } from '../../pipeline/fields.ts';
import { checkHttpPush, checkUrl, httpPushFields } from '../../pipeline/http-push/index.ts';
import { checkQueue, queueFields } from '../../pipeline/queue/config.ts';

/** Loki's default limit (validation.max-label-names-per-series). */
const maxLabels = 15;

export const config = z.strictObject({
  endpoint: z
    .string()
    .default('http://localhost:3100')
    .describe('Base URL; /loki/api/v1/push is added where there is no path.'),
  tenant: z.string().optional().describe('X-Scope-OrgID, for a Loki with several tenants.'),
  format: z
    .enum(['json', 'protobuf'])
    .default('json')
    .describe('Body of requests: JSON with compression, or protobuf with snappy.'),
  labels: z
    .record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'expected a label name'), z.string())
    .default({
      cluster: 'k8s.cluster.name',
      namespace: 'k8s.namespace.name',
      node: 'k8s.node.name',
      event: 'event.name',
    })
    .describe(
      'Stream labels: label → attribute of the event or its resource. Keep them few: each combination is a stream.',
    ),
  static_labels: z
    .record(z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'expected a label name'), z.string())
    .default({})
    .describe('Stream labels with a fixed value.'),
  structured_metadata: z
    .boolean()
    .default(true)
    .describe('Send all other attributes as structured metadata (Loki 2.9 and later); without, only the line.'),
  line: z
    .enum(['event', 'body', 'json'])
    .default('event')
    .describe('The log line: the event line of key=value, the readable sentence, or the event as JSON.'),
  max_request_bytes: bytes('1MiB').describe(
    'Requests are split below about this size, uncompressed; Loki refuses more than its burst.',
  ),
  ...httpPushFields,
  ...queueFields,
  sending_queue: queueFields.sending_queue
    .unwrap()
    .extend({
      num_consumers: z
        .number()
        .int()
        .positive()
        .default(1)
        .describe('Requests in flight at once. One keeps every stream in order.'),
    })
    .prefault({}),
});

export type LokiConfig = z.output<typeof config>;

/** Rules across keys. */
export function check(c: LokiConfig) {
  const problems = [...checkUrl(c.endpoint, ['endpoint']), ...checkHttpPush(c), ...checkQueue(c)];
  const n = Object.keys({ ...c.labels, ...c.static_labels }).length;
  if (n === 0)
    problems.push({ path: ['labels'], message: 'expected at least one label: Loki refuses streams without' });
  if (n > maxLabels) problems.push({ path: ['labels'], message: `expected at most ${maxLabels} labels, got ${n}` });
  if (c.max_request_bytes < 16 * 1024) {
    problems.push({ path: ['max_request_bytes'], message: 'expected at least 16KiB' });
  }
  return problems;
}

/** Where pushes go. */
export function urlOf(c: LokiConfig): URL {
  const url = new URL(c.endpoint);
  if (url.pathname === '/') url.pathname = '/loki/api/v1/push';
  return url;
}
