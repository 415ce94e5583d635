import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import { icmpTable, icmpTypeMetrics } from './metrics-icmp.ts';
import { ipTable } from './metrics-ip.ts';
import { ipvsMetrics } from './metrics-ipvs.ts';
import { mptcpTable } from './metrics-mptcp.ts';
import { netdevMetrics, sockMetrics, softnetMetrics, tcpsummaryMetrics } from './metrics-net.ts';
import { fdMetrics, ioMetrics, psiMetrics, schedMetrics } from './metrics-pod.ts';
import { tcpTable } from './metrics-tcp.ts';
import { tcpextTable } from './metrics-tcpext.ts';
import { udpliteTable, udpTable } from './metrics-udp.ts';

/** Everything each scraper can emit. */
export const metricsOf = {
  netdev: Object.values(netdevMetrics),
  tcp: tcpTable.metrics,
  udp: [...udpTable.metrics, ...udpliteTable.metrics],
  ip: ipTable.metrics,
  icmp: [...icmpTable.metrics, ...Object.values(icmpTypeMetrics)],
  tcpext: [...tcpextTable.metrics, ...mptcpTable.metrics],
  sock: Object.values(sockMetrics),
  softnet: Object.values(softnetMetrics),
  tcpsummary: Object.values(tcpsummaryMetrics),
  fd: Object.values(fdMetrics),
  io: Object.values(ioMetrics),
  ipvs: Object.values(ipvsMetrics),
  psi: Object.values(psiMetrics),
  sched: Object.values(schedMetrics),
} as const satisfies Record<string, readonly MetricDefinition[]>;

export type ScraperName = keyof typeof metricsOf;

export const scraperNames = Object.keys(metricsOf) as readonly ScraperName[];

export const metrics: readonly MetricDefinition[] = scraperNames.flatMap((name) => [...metricsOf[name]]);
