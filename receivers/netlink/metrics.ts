import type { EventDefinition, MetricDefinition } from '../../pipeline/catalogue.ts';
import { conntrackEvents, conntrackMetrics } from './metrics-conntrack.ts';
import { linkEvents, linkMetrics, neighbourMetrics } from './metrics-link.ts';
import { qdiscMetrics } from './metrics-qdisc.ts';
import { rdmaMetrics } from './metrics-rdma.ts';
import { tcpInfoMetrics } from './metrics-tcp-info.ts';

/** Every metric of this receiver. */
export const metrics: readonly MetricDefinition[] = [
  ...Object.values(conntrackMetrics),
  ...Object.values(qdiscMetrics),
  ...Object.values(tcpInfoMetrics),
  ...Object.values(neighbourMetrics),
  ...Object.values(linkMetrics),
  ...Object.values(rdmaMetrics),
];

/** Every event of this receiver. */
export const events: readonly EventDefinition[] = [...Object.values(conntrackEvents), ...Object.values(linkEvents)];
