import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';

const family = { 'network.type': { description: 'ARP is ipv4, neighbour discovery ipv6.', values: ['ipv4', 'ipv6'] } };
const table = (field: string) => `RTM_GETNEIGHTBL ${field}`;

/** ARP and neighbour discovery. */
export const neighbourMetrics = defineMetrics({
  'skoop.neighbour.entries': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description:
      'Neighbour entries by state. Entries in state failed are hosts that did not answer ARP or neighbour discovery.',
    source: 'RTM_GETNEIGH dump',
    scope: 'netns',
    attributes: {
      ...family,
      'skoop.neighbour.state': {
        description: 'State of the entry. Entries that need no resolution (noarp) are left out.',
        values: ['incomplete', 'reachable', 'stale', 'delay', 'probe', 'failed', 'permanent'],
      },
    },
    maxSeries: 14,
  },
  'skoop.neighbour.table.entries': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description: 'Entries in the table that all network namespaces of the node share.',
    source: table('NDTA_CONFIG ndtc_entries'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
  },
  'skoop.neighbour.table.limit': {
    instrument: 'updowncounter',
    unit: '{entry}',
    description: 'Entries the shared table may hold (gc_thresh3): beyond it no new neighbour is resolved.',
    source: table('NDTA_THRESH3'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
  },
  'skoop.neighbour.table.lookups': {
    instrument: 'counter',
    unit: '{lookup}',
    description: 'Lookups in the shared table.',
    source: table('NDTA_STATS ndts_lookups'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
    enabled: false,
  },
  'skoop.neighbour.table.resolution_failures': {
    instrument: 'counter',
    unit: '{entry}',
    description: 'Neighbours that did not answer.',
    source: table('NDTA_STATS ndts_res_failed'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
  },
  'skoop.neighbour.table.forced_collections': {
    instrument: 'counter',
    unit: '{run}',
    description: 'Times the table was searched for entries to throw out because it was near its limit.',
    source: table('NDTA_STATS ndts_forced_gc_runs'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
  },
  'skoop.neighbour.table.overflows': {
    instrument: 'counter',
    unit: '{entry}',
    description: 'Neighbours refused because the table was full (kernel 4.11).',
    source: table('NDTA_STATS ndts_table_fulls'),
    scope: 'node',
    attributes: family,
    maxSeries: 2,
  },
});

/** Interfaces. Traffic counters are the procfs receiver's. */
export const linkMetrics = defineMetrics({
  'skoop.link.carrier_changes': {
    instrument: 'counter',
    unit: '{change}',
    description: "Times the interface's carrier was lost or came back. Veths on the node's side are left out.",
    source: 'RTM_GETLINK IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT',
    scope: 'netns',
    attributes: {
      'network.interface.name': { description: 'Name of the interface in its own network namespace.' },
      'skoop.link.carrier': { description: 'What it changed to.', values: ['up', 'down'] },
    },
    maxSeries: 128,
  },
});

export const linkEvents = defineEvents({
  'skoop.link.changed': {
    description:
      "An interface or one of its addresses changed. Veths on the node's side are left out: they come and go with pods.",
    source:
      'RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR on the node; a comparison of dumps each round in pods',
    attributes: {
      'network.interface.name': { description: 'Name of the interface in its own network namespace.' },
      'skoop.link.change': {
        description: 'What changed.',
        values: [
          'appeared',
          'removed',
          'renamed',
          'admin_up',
          'admin_down',
          'carrier_lost',
          'carrier_gained',
          'mtu',
          'hardware_address',
          'master',
          'address_added',
          'address_removed',
        ],
      },
      'skoop.link.before': { description: 'The old value, where there is one.' },
      'skoop.link.after': { description: 'The new value, where there is one.' },
      'skoop.link.count': { description: 'How often the carrier changed since the last look, where more than once.' },
    },
  },
});
