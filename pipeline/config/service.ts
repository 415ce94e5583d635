import { z } from 'zod';
import { duration } from '../fields.ts';

const address = () =>
  z
    .string({ error: 'expected an address such as localhost:8888 or [::1]:8888' })
    .regex(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]]*):\d{1,5}$/, {
      error: 'expected an address such as localhost:8888 or [::1]:8888',
    })
    .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, {
      error: 'the port must be at most 65535',
    });

/** `service`, but for its pipelines: those are checked beside it, so that each error has its own place. */
export const serviceSchema = z.strictObject({
  node_name: z
    .string()
    .optional()
    .describe(
      'Name of this node on everything that is sent; default: NODE_NAME from the environment, else the host name.',
    ),
  shutdown_timeout: duration('10s').describe('How long a stop may take to send what is queued.'),
  telemetry: z
    .strictObject({
      metrics: z
        .strictObject({
          address: address()
            .default('localhost:8888')
            .describe("Where the agent's own metrics are served, at /metrics."),
          level: z
            .enum(['none', 'normal', 'detailed'])
            .default('normal')
            .describe(
              'none: no endpoint; detailed: garbage collection and heap too, and the event loop sampled 25 times as often.',
            ),
        })
        .prefault({})
        .describe("The agent's own metrics."),
      logs: z
        .strictObject({
          level: z
            .enum(['debug', 'info', 'warn', 'error'])
            .default('info')
            .describe('Least severity of the agent log on standard error.'),
        })
        .prefault({})
        .describe("The agent's own log."),
    })
    .prefault({})
    .describe('What the agent tells about itself.'),
  health: z
    .strictObject({
      address: address().default('localhost:13133').describe('Where /healthz, /readyz and /pipeline are served.'),
    })
    .prefault({})
    .describe('Health endpoint.'),
  pipelines: z.unknown().optional().describe('Pipelines by id: metrics, logs, metrics/name, ...'),
});

/** `service` as parsed: durations in ms. */
export type ServiceConfig = Omit<z.output<typeof serviceSchema>, 'pipelines'>;

const names = (what: string) => z.array(z.string(), { error: `expected a list of ${what}` });

/** One of `service.pipelines`. */
export const pipelineSchema = z.strictObject({
  receivers: names('receivers').describe('Where data comes from.'),
  processors: names('processors').default([]).describe('What is done to it, in this order.'),
  exporters: names('exporters').describe('Where it goes.'),
});

export type PipelineSection = z.output<typeof pipelineSchema>;

/** Splits `localhost:8888` and `[::1]:8888`; an empty host listens on every address. */
export function splitAddress(text: string): { readonly host: string | undefined; readonly port: number } {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host: host === '' ? undefined : host, port: Number(text.slice(colon + 1)) };
}
