import { agent, events } from './events-and-agent.ts';
import { flows, kubeskoopFlows } from './flows.ts';
import type { Dashboard } from './grafana.ts';
import { kubeskoopNode, kubeskoopPod } from './kubeskoop.ts';
import { node, pod } from './node-and-pod.ts';

export const dashboards: readonly Dashboard[] = [
  node,
  pod,
  flows,
  events,
  agent,
  kubeskoopNode,
  kubeskoopPod,
  kubeskoopFlows,
];
