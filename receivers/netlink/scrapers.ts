import type { ProcRoot } from '../../host/proc-root.ts';
import type { LogRecord } from '../../pipeline/batch.ts';
import type { MetricDefinition } from '../../pipeline/catalogue.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import type { NetlinkConfig } from './config.ts';
import { ConntrackScraper } from './conntrack.ts';
import { LinkScraper } from './link.ts';
import { LinkTables } from './link-table.ts';
import { NeighbourScraper } from './neighbour.ts';
import { QdiscScraper } from './qdisc.ts';
import { RdmaScraper } from './rdma.ts';
import type { Enabled, Scraper } from './scraper.ts';
import { TcpInfoScraper } from './tcp-info.ts';
import { WorstPeers } from './worst-peers.ts';

/** A scraper with its name: the second half of `MetricsBatch.source`. */
export interface NamedScraper {
  readonly name: string;
  readonly scraper: Scraper;
}

/** Makes what the config switches on. */
export function makeScrapers(
  config: NetlinkConfig,
  context: ReceiverContext,
  root: ProcRoot,
  emitLinks: (records: readonly LogRecord[]) => void,
): NamedScraper[] {
  const { conntrack, qdisc, tcp_info, neighbour, link, rdma } = config.scrapers;
  const enabled: Enabled = (metric: MetricDefinition) => config.metrics[metric.name]?.enabled ?? metric.enabled;
  const links = new LinkTables();
  const out: NamedScraper[] = [];
  const tooLarge = context.telemetry.counter(
    'conntrack_tables_not_dumped',
    '{table}',
    'Conntrack tables that were larger than max_entries: their connections by state are absent.',
  );
  if (conntrack.enabled) {
    out.push({ name: 'conntrack', scraper: new ConntrackScraper(conntrack, enabled, () => tooLarge.add(1)) });
  }
  if (qdisc.enabled) out.push({ name: 'qdisc', scraper: new QdiscScraper(qdisc, enabled, links) });
  if (link.enabled) {
    out.push({
      name: 'link',
      scraper: new LinkScraper(enabled, links, context.clock, link.events ? emitLinks : undefined),
    });
  }
  if (neighbour.enabled) out.push({ name: 'neighbour', scraper: new NeighbourScraper(enabled) });
  if (tcp_info.enabled) {
    const peers = new WorstPeers(tcp_info.worst_peers, enabled);
    const scraper = new TcpInfoScraper(tcp_info.max_connections, config.collection_interval, enabled, peers, root);
    out.push({ name: 'tcp_info', scraper }, { name: 'tcp_peers', scraper: peers });
  }
  if (rdma.enabled) out.push({ name: 'rdma', scraper: new RdmaScraper(root, enabled) });
  return out;
}
