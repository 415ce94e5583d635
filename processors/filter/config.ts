import { z } from 'zod';

const patterns = (what: string) =>
  z.array(z.string().min(1)).optional().describe(`${what}: exact, with * and ?, or a /regular expression/.`);

const rules = (what: string) =>
  z
    .strictObject({
      include: patterns(`${what} to let through, and nothing else`),
      exclude: patterns(`${what} to take out, also of those included`),
    })
    .prefault({});

export const config = z.strictObject({
  metrics: rules('Metrics, by OpenTelemetry name,').describe('By metric name.'),
  events: rules('Events, by event name or kubeskoop.type,').describe('By event name or KubeSkoop type.'),
  namespaces: rules('Kubernetes namespaces').describe(
    'By Kubernetes namespace of the pod; the node counts as hostNetwork, as in event lines.',
  ),
  pods: rules('Pods').describe('By name of the pod; the node counts as hostNetwork, as in event lines.'),
  attributes: z
    .record(z.string(), rules('Values of the attribute'))
    .default({})
    .describe('By attribute of a series or event: key → rules. What lacks the attribute stays.'),
});

export type FilterConfig = z.output<typeof config>;
export type Rules = FilterConfig['metrics'];
