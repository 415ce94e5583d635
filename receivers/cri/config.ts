import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';

export const config = z.strictObject({
  mode: z
    .enum(['auto', 'cri', 'docker', 'sidecar'])
    .default('auto')
    .describe(
      'Whom to ask: a CRI runtime, the Docker engine, or (sidecar) the environment of the own pod; auto looks for a socket.',
    ),
  endpoint: z
    .string()
    .optional()
    .describe('Socket of the runtime, as a path or unix:// URL. Not set: the well-known places are tried.'),
  collection_interval: duration('10s').describe('Time between two lists; changes are noticed earlier, by wake-ups.'),
  timeout: duration('5s').describe('Deadline of each call to the runtime.'),
  parallelism: z.number().int().min(1).max(32).default(4).describe('Status calls in flight at once.'),
  max_pods: z
    .number()
    .int()
    .positive()
    .default(2000)
    .describe('Sandboxes taken from one list; the rest is dropped and counted.'),
  keep_last: duration('30m').describe(
    'How long the last list stays in use while the runtime does not answer. Pods whose network namespace ends go at once.',
  ),
  events: z.boolean().default(true).describe('Emit skoop.pod.* and skoop.container.* events.'),
  wake_up: z
    .strictObject({
      containerd_events: z
        .boolean()
        .default(true)
        .describe("Subscribe to containerd's own events (any number of subscribers)."),
      docker_events: z.boolean().default(true).describe("Follow the Docker engine's events."),
      netns: z.boolean().default(true).describe('Watch /run/netns for namespaces that appear or go.'),
      cri_events: z
        .boolean()
        .default(false)
        .describe(
          'Subscribe to CRI GetContainerEvents. Off: containerd 1.7 gives each event to one subscriber only, so the kubelet would lose them.',
        ),
    })
    .prefault({})
    .describe('What makes it list before the interval is over.'),
});

export type CriConfig = z.output<typeof config>;

/** Rules that the schema cannot say. */
export function checkConfig(c: CriConfig): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  if (c.collection_interval < 1000) problems.push({ path: ['collection_interval'], message: 'must be at least 1s' });
  if (c.timeout < 100) problems.push({ path: ['timeout'], message: 'must be at least 100ms' });
  if (c.mode === 'sidecar' && c.endpoint !== undefined) {
    problems.push({ path: ['endpoint'], message: 'has no meaning with mode: sidecar, which asks no runtime' });
  }
  return problems;
}
