import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import { tcpStateNames } from './conntrack-codec.ts';

const perCpu = (field: string) => `ctnetlink IPCTNL_MSG_CT_GET_STATS_CPU ${field}, all CPUs summed`;

/** Connection tracking. A namespace that has never tracked a connection has none of these. */
export const conntrackMetrics = defineMetrics({
  'skoop.conntrack.entries': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description: 'Connections in the tracking table of this network namespace.',
    source: 'ctnetlink IPCTNL_MSG_CT_GET_STATS CTA_STATS_GLOBAL_ENTRIES',
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_entries', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.limit': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description:
      'Connections the table may hold; beyond it new connections are dropped. Exported for the node, and for a namespace whose limit differs.',
    source: 'ctnetlink IPCTNL_MSG_CT_GET_STATS CTA_STATS_GLOBAL_MAX_ENTRIES (nf_conntrack_max)',
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_maxentries', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.utilization': {
    instrument: 'gauge',
    unit: '1',
    description: 'Entries divided by limit: new connections are dropped at 1.',
    source: 'the two above',
    scope: 'netns',
  },
  'skoop.conntrack.found': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Lookups that met an entry where a new one was to be made.',
    source: perCpu('CTA_STATS_FOUND'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_found', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.invalid': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets that fit no connection: out of window, malformed, or of a state that was forgotten.',
    source: perCpu('CTA_STATS_INVALID'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_invalid', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.ignored': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets that were not to be tracked. Kernels from 5.10 on do not count them.',
    source: perCpu('CTA_STATS_IGNORE'),
    scope: 'netns',
    enabled: false,
    kubeskoop: [{ name: 'kubeskoop_conntrack_ignore', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.inserted': {
    instrument: 'counter',
    unit: '{entry}',
    description: 'Entries made, as far as the kernel counts them: current ones hardly do.',
    source: perCpu('CTA_STATS_INSERT'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_insert', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.insert_failed': {
    instrument: 'counter',
    unit: '{packet}',
    description:
      'Packets dropped because another packet had made an entry with the same addresses meanwhile: NAT races, port exhaustion.',
    source: perCpu('CTA_STATS_INSERT_FAILED'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_insertfailed', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.dropped': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets dropped because no entry could be made: the table is full or memory ran out.',
    source: perCpu('CTA_STATS_DROP'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_drop', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.early_dropped': {
    instrument: 'counter',
    unit: '{entry}',
    description: 'Unassured entries thrown out to make room in a full table: a warning before dropped.',
    source: perCpu('CTA_STATS_EARLY_DROP'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_earlydrop', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.errors': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets refused before tracking: bad checksum or header, ICMP errors that belong to nothing.',
    source: perCpu('CTA_STATS_ERROR'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_error', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.search_restarts': {
    instrument: 'counter',
    unit: '{lookup}',
    description: 'Lookups begun again because the table changed under them.',
    source: perCpu('CTA_STATS_SEARCH_RESTART'),
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_conntrack_searchrestart', type: 'gauge', nodeOnly: true }],
  },
  'skoop.conntrack.clashes_resolved': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Insert races that ended well: the packet went on with the other entry.',
    source: perCpu('CTA_STATS_CLASH_RESOLVE (kernel 5.10)'),
    scope: 'netns',
  },
  'skoop.conntrack.chains_too_long': {
    instrument: 'counter',
    unit: '{packet}',
    description: 'Packets dropped because too many entries share a hash bucket.',
    source: perCpu('CTA_STATS_CHAIN_TOOLONG (kernel 5.15)'),
    scope: 'netns',
  },
  'skoop.conntrack.connections': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description: 'Tracked connections by protocol and state. Absent while the table is larger than max_entries.',
    source: 'ctnetlink IPCTNL_MSG_CT_GET dump',
    scope: 'netns',
    attributes: {
      'network.transport': {
        description: 'Protocol above IP.',
        values: ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'dccp', 'gre', 'other'],
      },
      'skoop.conntrack.state': {
        description: 'TCP: the state of the connection. Others: whether a reply was seen, and whether it lasts.',
        values: [...tcpStateNames, 'unreplied', 'replied', 'assured'],
      },
    },
    maxSeries: 31,
  },
});

const conntrackAttributes = {
  'kubeskoop.type': { description: 'Type of the event in KubeSkoop.' },
  'network.transport': { description: 'Protocol above IP: tcp, udp, icmp, … or its number.' },
  'network.type': { description: 'IP version.', values: ['ipv4', 'ipv6'] },
  'source.address': { description: 'Who opened the connection.' },
  'source.port': { description: 'Its port.' },
  'destination.address': { description: 'Whom it asked for, before NAT.' },
  'destination.port': { description: 'Its port.' },
  'skoop.conntrack.reply.source.address': { description: 'Who answers: differs from destination.address under DNAT.' },
  'skoop.conntrack.reply.source.port': { description: 'Its port.' },
  'skoop.conntrack.reply.destination.address': {
    description: 'Whom the answers go to: differs from source.address under SNAT.',
  },
  'skoop.conntrack.reply.destination.port': { description: 'Its port.' },
  'skoop.conntrack.state': {
    description: 'TCP state, or unreplied, replied, assured. Absent when the kernel does not say.',
  },
  'skoop.conntrack.nat': { description: 'Which addresses are translated.', values: ['source', 'destination', 'both'] },
  'skoop.conntrack.zone': { description: 'Zone, where it is not 0.' },
  'skoop.conntrack.mark': { description: 'Mark, where it is not 0.' },
  'skoop.conntrack.original.packets': {
    description: 'Packets towards the destination, where nf_conntrack_acct is on.',
  },
  'skoop.conntrack.original.bytes': { description: 'Bytes towards the destination, where nf_conntrack_acct is on.' },
  'skoop.conntrack.reply.packets': { description: 'Packets of the answers.' },
  'skoop.conntrack.reply.bytes': { description: 'Bytes of the answers.' },
} as const;

/** Connection tracking events; only with `scrapers.conntrack.events.enabled`. */
export const conntrackEvents = defineEvents({
  'skoop.conntrack.new': {
    description: 'A connection was seen for the first time.',
    source: 'ctnetlink group NFNLGRP_CONNTRACK_NEW',
    attributes: conntrackAttributes,
    kubeskoopTypes: ['ConntrackNew'],
  },
  'skoop.conntrack.update': {
    description: 'A connection changed its state.',
    source: 'ctnetlink group NFNLGRP_CONNTRACK_UPDATE',
    attributes: conntrackAttributes,
    kubeskoopTypes: ['ConntrackUpdate'],
  },
  'skoop.conntrack.destroy': {
    description: 'A connection was forgotten.',
    source: 'ctnetlink group NFNLGRP_CONNTRACK_DESTROY',
    attributes: conntrackAttributes,
    kubeskoopTypes: ['ConntrackDestroy'],
  },
  'skoop.conntrack.events_lost': {
    description: 'The kernel dropped connection events because they were not read fast enough.',
    source: 'ENOBUFS and SO_MEMINFO of the event socket',
    attributes: { 'skoop.lost': { description: 'Events lost since the last report.' } },
  },
});
