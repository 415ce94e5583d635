import { defineMetrics } from '../../pipeline/catalogue.ts';
import { dropReasons } from './qdisc-codec.ts';

const device = {
  'network.interface.name': { description: 'Name of the interface in its own network namespace.' },
  'skoop.qdisc.kind': { description: 'Kind of the queueing discipline: fq_codel, tbf, mq, ingress.' },
};

const rootOnly = 'Root and ingress qdiscs only: a root already sums its children.';

/** Queueing disciplines. Devices without a queue (`noqueue`: most veths) have none of these. */
export const qdiscMetrics = defineMetrics({
  'skoop.qdisc.io': {
    instrument: 'counter',
    unit: 'By',
    description: `Bytes that went through the queue. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_BASIC',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_bytes', type: 'gauge' }],
  },
  'skoop.qdisc.packets': {
    instrument: 'counter',
    unit: '{packet}',
    description: `Packets that went through the queue (64 bits). ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_PKT64, else TCA_STATS_BASIC',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_packets', type: 'gauge' }],
  },
  'skoop.qdisc.drops': {
    instrument: 'counter',
    unit: '{packet}',
    description: `Packets the queue dropped. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_QUEUE',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_drops', type: 'gauge' }],
  },
  'skoop.qdisc.requeues': {
    instrument: 'counter',
    unit: '{packet}',
    description: `Packets the driver would not take and that were put back. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_QUEUE',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
  },
  'skoop.qdisc.overlimits': {
    instrument: 'counter',
    unit: '{event}',
    description: `Times the queue held a packet back because of its rate limit. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_QUEUE',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_overlimits', type: 'gauge' }],
  },
  'skoop.qdisc.queue.length': {
    instrument: 'gauge',
    unit: '{packet}',
    description: `Packets waiting now. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_QUEUE',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_qlen' }],
  },
  'skoop.qdisc.queue.size': {
    instrument: 'gauge',
    unit: 'By',
    description: `Bytes waiting now. ${rootOnly}`,
    source: 'RTM_GETQDISC TCA_STATS_QUEUE',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
    kubeskoop: [{ name: 'kubeskoop_qdisc_backlog' }],
  },
  'skoop.qdisc.ecn_marked': {
    instrument: 'counter',
    unit: '{packet}',
    description:
      'Packets marked with congestion (ECN) instead of dropped, over all qdiscs of the kind on the interface.',
    source: 'RTM_GETQDISC TCA_STATS_APP of fq_codel, codel, red; ce_mark of fq',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
  },
  'skoop.qdisc.drop_reasons': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Drops by the reason that the kind of queue tells, over all qdiscs of the kind on the interface.',
    source: 'RTM_GETQDISC TCA_STATS_APP of fq, fq_codel, codel, red',
    scope: 'netns',
    attributes: {
      ...device,
      'skoop.qdisc.reason': {
        description:
          'Why: the queue or flow is full, memory is used up, the timestamp lies too far ahead, random early drop.',
        values: dropReasons,
      },
    },
    maxSeries: 256,
  },
  'skoop.qdisc.flows': {
    instrument: 'gauge',
    unit: '{flow}',
    description: 'Flows of a fair queue now, over all qdiscs of the kind on the interface.',
    source: 'RTM_GETQDISC TCA_STATS_APP of fq, fq_codel',
    scope: 'netns',
    attributes: {
      ...device,
      'skoop.qdisc.flow.state': {
        description: 'fq: active, inactive, throttled (held back by pacing). fq_codel: new, old.',
        values: ['active', 'inactive', 'throttled', 'new', 'old'],
      },
    },
    maxSeries: 192,
  },
  'skoop.qdisc.throttled': {
    instrument: 'counter',
    unit: '{event}',
    description: 'Times fq held a flow back to keep its pacing rate.',
    source: 'RTM_GETQDISC TCA_STATS_APP of fq',
    scope: 'netns',
    attributes: device,
    maxSeries: 64,
  },
});
