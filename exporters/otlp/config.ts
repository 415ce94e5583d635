import { z } from 'zod';
import { bytes } from '../../pipeline/fields.ts';
import { checkHttpPush, checkUrl, httpPushFields } from '../../pipeline/http-push/index.ts';
import { checkQueue, queueFields } from '../../pipeline/queue/config.ts';

export const config = z.strictObject({
  endpoint: z
    .string()
    .default('http://localhost:4318')
    .describe('Base URL; /v1/metrics and /v1/logs are added. For gRPC: no path.'),
  metrics_endpoint: z.string().optional().describe('Full URL for metrics, where it is not below endpoint (HTTP only).'),
  logs_endpoint: z.string().optional().describe('Full URL for logs, where it is not below endpoint (HTTP only).'),
  protocol: z.enum(['http/protobuf', 'http/json', 'grpc']).default('http/protobuf').describe('How to speak OTLP.'),
  max_request_bytes: bytes('4MiB').describe(
    'Requests are split below this size, uncompressed; 4 MiB is what gRPC receivers take.',
  ),
  ...httpPushFields,
  ...queueFields,
});

export type OtlpConfig = z.output<typeof config>;

/** Rules across keys. */
export function check(c: OtlpConfig) {
  const problems = [...checkUrl(c.endpoint, ['endpoint']), ...checkHttpPush(c), ...checkQueue(c)];
  if (c.metrics_endpoint !== undefined) problems.push(...checkUrl(c.metrics_endpoint, ['metrics_endpoint']));
  if (c.logs_endpoint !== undefined) problems.push(...checkUrl(c.logs_endpoint, ['logs_endpoint']));
  if (c.protocol === 'grpc' && c.compression === 'zstd') {
    problems.push({ path: ['compression'], message: 'zstd is not available with protocol: grpc' });
  }
  if (c.max_request_bytes < 16 * 1024) {
    problems.push({ path: ['max_request_bytes'], message: 'expected at least 16KiB' });
  }
  return problems;
}

/** Where a signal goes over HTTP. */
export function urlOf(c: OtlpConfig, signal: 'metrics' | 'logs'): URL {
  const own = signal === 'metrics' ? c.metrics_endpoint : c.logs_endpoint;
  if (own !== undefined) return new URL(own);
  const url = new URL(c.endpoint);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${signal}`;
  return url;
}
