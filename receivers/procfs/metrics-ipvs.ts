import { defineMetrics } from '../../pipeline/catalogue.ts';

/** Catalogue of the ipvs scraper: what kube-proxy's IPVS mode does on this node. */

const direction = {
  'network.io.direction': { description: 'Towards the real servers or back.', values: ['receive', 'transmit'] },
};
const receive = { 'network.io.direction': 'receive' };
const transmit = { 'network.io.direction': 'transmit' };

const destination = {
  'network.transport': {
    description: 'Protocol of the service; fwm for firewall marks.',
    values: ['tcp', 'udp', 'sctp', 'fwm'],
  },
  'server.address': { description: 'Virtual address of the service, or its firewall mark.' },
  'server.port': { description: 'Port of the service.' },
  'destination.address': { description: 'Address of the real server.' },
  'destination.port': { description: 'Port of the real server.' },
  'otel.metric.overflow': { description: 'True on the series that sums the real servers beyond max_destinations.' },
};

export const ipvsMetrics = defineMetrics({
  'skoop.ipvs.connections': {
    instrument: 'counter',
    unit: '{connection}',
    description: 'Connections scheduled to a real server.',
    source: 'net/ip_vs_stats Total Conns',
    scope: 'node',
    kubeskoop: [{ name: 'kubeskoop_ipvs_connections', type: 'gauge' }],
  },
  'skoop.ipvs.packets': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets of those connections.',
    attributes: direction,
    source: 'net/ip_vs_stats Incoming, Outgoing Packets',
    scope: 'node',
    maxSeries: 2,
    kubeskoop: [
      { name: 'kubeskoop_ipvs_incomingpackets', where: receive, type: 'gauge' },
      { name: 'kubeskoop_ipvs_outgoingpackets', where: transmit, type: 'gauge' },
    ],
  },
  'skoop.ipvs.io': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes of those connections.',
    attributes: direction,
    source: 'net/ip_vs_stats Incoming, Outgoing Bytes',
    scope: 'node',
    maxSeries: 2,
    kubeskoop: [
      { name: 'kubeskoop_ipvs_incomingbytes', where: receive, type: 'gauge' },
      { name: 'kubeskoop_ipvs_outgoingbytes', where: transmit, type: 'gauge' },
    ],
  },
  'skoop.ipvs.services': {
    instrument: 'updowncounter',
    unit: '{service}',
    description: 'Virtual services.',
    source: 'net/ip_vs',
    scope: 'node',
  },
  'skoop.ipvs.destinations': {
    instrument: 'updowncounter',
    unit: '{destination}',
    description: 'Real servers of all virtual services.',
    source: 'net/ip_vs',
    scope: 'node',
  },
  'skoop.ipvs.services_without_destination': {
    instrument: 'updowncounter',
    unit: '{service}',
    description: 'Virtual services without a real server of weight above 0: connections to them fail.',
    source: 'net/ip_vs',
    scope: 'node',
  },
  'skoop.ipvs.destination.connections': {
    instrument: 'updowncounter',
    unit: '{connection}',
    description: 'Connections that a real server has now.',
    attributes: {
      ...destination,
      'skoop.ipvs.state': { description: 'Established, or any other state.', values: ['active', 'inactive'] },
    },
    source: 'net/ip_vs ActiveConn, InActConn',
    scope: 'node',
    maxSeries: 1002,
    enabled: false,
  },
  'skoop.ipvs.destination.weight': {
    instrument: 'gauge',
    unit: '{weight}',
    description: 'Weight of a real server; 0 takes no new connections.',
    attributes: destination,
    source: 'net/ip_vs Weight',
    scope: 'node',
    maxSeries: 501,
    enabled: false,
  },
});
