import { z } from 'zod';
import { bytes, duration } from '../../pipeline/fields.ts';

const watched = (what: string) => z.boolean().default(true).describe(what);

export const config = z.strictObject({
  kubeconfig: z
    .string()
    .optional()
    .describe("File of the cluster's address and credentials. Not set: the pod's own service account."),
  context: z.string().optional().describe('Context of the kubeconfig. Not set: its current one.'),
  service_account: z
    .string()
    .default('/var/run/secrets/kubernetes.io/serviceaccount')
    .describe('Folder with the files token and ca.crt, where there is no kubeconfig. Read again as they change.'),
  pods: watched('Watch the pods of all namespaces.'),
  services: watched('Watch the services of all namespaces.'),
  nodes: watched("Watch the nodes: their addresses, and the zones of the pods' nodes."),
  max_peers: z
    .number()
    .int()
    .positive()
    .default(20_000)
    .describe(
      'Peers kept, some 700 bytes each. Beyond that the pods of other nodes that were written least recently are dropped and counted.',
    ),
  emit_interval: duration('1s').describe('Shortest time between two lists of peers sent on.'),
  keep_last: duration('30m').describe('How long what is known stays in use while the API server does not answer.'),
  timeout: duration('30s').describe('Deadline for the first byte of an answer, and for a whole page of a list.'),
  streaming_list: z
    .boolean()
    .default(true)
    .describe(
      'Fill by a watch that begins with what there is (WatchList, Kubernetes 1.34), object by object from the server’s cache; servers that cannot are asked for pages.',
    ),
  page_size: z.number().int().min(1).max(5000).default(100).describe('Objects on a page of a list.'),
  max_object_bytes: bytes('4MiB').describe('Longer objects are skipped and counted; a page may be 64 times as long.'),
});

export type K8sConfig = z.output<typeof config>;

/** Rules that the schema cannot say. */
export function checkConfig(c: K8sConfig): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  if (c.context !== undefined && c.kubeconfig === undefined)
    problems.push({ path: ['context'], message: 'has no meaning without kubeconfig' });
  if (!c.pods && !c.services && !c.nodes) problems.push({ path: ['pods'], message: 'nothing is left to watch' });
  if (c.emit_interval < 100) problems.push({ path: ['emit_interval'], message: 'must be at least 100ms' });
  if (c.timeout < 1000) problems.push({ path: ['timeout'], message: 'must be at least 1s' });
  return problems;
}
