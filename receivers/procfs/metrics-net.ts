import { pageSize } from '../../host/ffi/libc.ts';
import { tcpStates } from '../../host/netlink/sock-diag.ts';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { networkType } from './mib-table.ts';

/** Catalogue of the scrapers netdev, sock, softnet and tcpsummary. */

const direction = { description: 'Received or sent.', values: ['receive', 'transmit'] };
const interfaceName = { description: 'Name of the interface in its network namespace.' };
const perInterface = { 'network.io.direction': direction, 'network.interface.name': interfaceName };
const receive = { 'network.io.direction': 'receive' };
const transmit = { 'network.io.direction': 'transmit' };
/** Default of netdev.max_interfaces. */
const interfaces = 256;

const netdevNames = (rx: string, tx: string) =>
  [
    { name: `kubeskoop_netdev_${rx}`, where: receive, except: { 'network.interface.name': 'lo' }, type: 'gauge' },
    { name: `kubeskoop_netdev_${tx}`, where: transmit, except: { 'network.interface.name': 'lo' }, type: 'gauge' },
  ] as const;

const netdev = {
  instrument: 'counter',
  scope: 'netns',
  attributes: perInterface,
  maxSeries: 2 * interfaces,
} as const;

/** net/dev (struct rtnl_link_stats64). */
export const netdevMetrics = defineMetrics({
  'system.network.io': {
    ...netdev,
    unit: 'By',
    description: 'Bytes received and sent by an interface.',
    source: 'net/dev bytes',
    kubeskoop: netdevNames('rxbytes', 'txbytes'),
  },
  'system.network.packet.count': {
    ...netdev,
    unit: '{packet}',
    description: 'Packets received and sent by an interface.',
    source: 'net/dev packets',
    kubeskoop: netdevNames('rxpackets', 'txpackets'),
  },
  'system.network.errors': {
    ...netdev,
    unit: '{error}',
    description: 'Packets an interface could not receive or send for an error.',
    source: 'net/dev errs',
    kubeskoop: netdevNames('rxerrors', 'txerrors'),
  },
  'system.network.packet.dropped': {
    ...netdev,
    unit: '{packet}',
    description: 'Packets an interface dropped without an error.',
    source: 'net/dev drop',
    kubeskoop: netdevNames('rxdropped', 'txdropped'),
  },
  'skoop.netdev.fifo_errors': {
    ...netdev,
    unit: '{error}',
    description: 'Overruns of an interface’s buffers.',
    source: 'net/dev fifo',
    enabled: false,
  },
  'skoop.netdev.compressed': {
    ...netdev,
    unit: '{packet}',
    description: 'Compressed packets (PPP, SLIP).',
    source: 'net/dev compressed',
    enabled: false,
  },
  'skoop.netdev.frame_errors': {
    ...netdev,
    attributes: { 'network.interface.name': interfaceName },
    maxSeries: interfaces,
    unit: '{error}',
    description: 'Packets received with a bad length, checksum, overrun or alignment.',
    source: 'net/dev frame',
    enabled: false,
  },
  'skoop.netdev.multicast': {
    ...netdev,
    attributes: { 'network.interface.name': interfaceName },
    maxSeries: interfaces,
    unit: '{packet}',
    description: 'Multicast packets received.',
    source: 'net/dev multicast',
    enabled: false,
  },
  'skoop.netdev.collisions': {
    ...netdev,
    attributes: { 'network.interface.name': interfaceName },
    maxSeries: interfaces,
    unit: '{collision}',
    description: 'Collisions while sending.',
    source: 'net/dev colls',
    enabled: false,
  },
  'skoop.netdev.carrier_errors': {
    ...netdev,
    attributes: { 'network.interface.name': interfaceName },
    maxSeries: interfaces,
    unit: '{error}',
    description: 'Packets not sent since the carrier was lost, and other errors of sending.',
    source: 'net/dev carrier',
    enabled: false,
  },
});

const transport = { description: 'Protocol.', values: ['tcp', 'udp', 'udplite', 'raw'] };

/** net/sockstat and net/sockstat6: what is counted per namespace, and what is global in the kernel. */
export const sockMetrics = defineMetrics({
  'skoop.sock.used': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'Sockets of any family.',
    attributes: {},
    source: 'net/sockstat sockets used',
    scope: 'netns',
  },
  'skoop.sock.inuse': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'Sockets in use, by protocol and IP version; listening ones included, TIME_WAIT ones not.',
    attributes: { 'network.transport': transport, 'network.type': networkType },
    source: 'net/sockstat, net/sockstat6 inuse',
    scope: 'netns',
    maxSeries: 8,
    kubeskoop: [{ name: 'kubeskoop_sock_inuse', where: { 'network.transport': 'tcp' }, nodeOnly: true, type: 'gauge' }],
  },
  'skoop.sock.time_wait': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'TCP sockets in TIME_WAIT, both IP versions.',
    attributes: {},
    source: 'net/sockstat TCP tw',
    scope: 'netns',
    kubeskoop: [{ name: 'kubeskoop_sock_tw', nodeOnly: true, type: 'gauge' }],
  },
  'skoop.sock.fragments': {
    instrument: 'updowncounter',
    unit: '{packet}',
    description: 'Packets being put together from fragments.',
    attributes: { 'network.type': networkType },
    source: 'net/sockstat FRAG inuse, net/sockstat6 FRAG6 inuse',
    scope: 'netns',
    maxSeries: 2,
    enabled: false,
  },
  'skoop.sock.fragment_memory': {
    instrument: 'updowncounter',
    unit: 'By',
    description: 'Memory of fragments that wait for the others.',
    attributes: { 'network.type': networkType },
    source: 'net/sockstat FRAG memory, net/sockstat6 FRAG6 memory',
    scope: 'netns',
    maxSeries: 2,
  },
  'skoop.sock.orphans': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'TCP sockets of the whole machine that no process holds any more.',
    attributes: {},
    source: 'net/sockstat TCP orphan of the host (global in the kernel)',
    scope: 'node',
    kubeskoop: [{ name: 'kubeskoop_sock_orphan', type: 'gauge' }],
  },
  'skoop.sock.allocated': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'TCP sockets of the whole machine, in any state.',
    attributes: {},
    source: 'net/sockstat TCP alloc of the host (global in the kernel)',
    scope: 'node',
    kubeskoop: [{ name: 'kubeskoop_sock_alloc', type: 'gauge' }],
  },
  'skoop.sock.memory': {
    instrument: 'updowncounter',
    unit: 'By',
    description: 'Memory of the whole machine’s socket buffers, by protocol; pages × page size.',
    attributes: { 'network.transport': { description: 'Protocol.', values: ['tcp', 'udp'] } },
    source: 'net/sockstat TCP mem, UDP mem of the host (global in the kernel)',
    scope: 'node',
    maxSeries: 2,
    // KubeSkoop prints pages.
    kubeskoop: [
      { name: 'kubeskoop_sock_mem', where: { 'network.transport': 'tcp' }, type: 'gauge', scale: 1 / pageSize() },
    ],
  },
});

const cpu = { 'cpu.logical_number': { description: 'CPU, with softnet.per_cpu only.' } };
const softnet = {
  instrument: 'counter',
  attributes: cpu,
  scope: 'node',
  maxSeries: 1024,
} as const;

/** net/softnet_stat: the receive side of all interfaces, per CPU and not per namespace. */
export const softnetMetrics = defineMetrics({
  'skoop.softnet.processed': {
    ...softnet,
    unit: '{packet}',
    description: 'Packets that went through the receive softirq.',
    source: 'net/softnet_stat column 1',
    kubeskoop: [{ name: 'kubeskoop_softnet_processed', type: 'gauge' }],
  },
  'skoop.softnet.dropped': {
    ...softnet,
    unit: '{packet}',
    description: 'Packets dropped since a CPU’s backlog was full (net.core.netdev_max_backlog).',
    source: 'net/softnet_stat column 2',
    kubeskoop: [{ name: 'kubeskoop_softnet_dropped', type: 'gauge' }],
  },
  'skoop.softnet.time_squeeze': {
    ...softnet,
    unit: '{event}',
    description: 'Times the receive softirq ran out of its budget with packets left (net.core.netdev_budget).',
    source: 'net/softnet_stat column 3',
  },
  'skoop.softnet.received_rps': {
    ...softnet,
    unit: '{event}',
    description: 'Times a CPU was woken by another to process packets (receive packet steering).',
    source: 'net/softnet_stat column 10',
  },
  'skoop.softnet.flow_limit': {
    ...softnet,
    unit: '{packet}',
    description: 'Packets dropped by the flow limit: one flow held most of a CPU’s backlog.',
    source: 'net/softnet_stat column 11',
  },
  'skoop.softnet.backlog_len': {
    ...softnet,
    instrument: 'updowncounter',
    unit: '{packet}',
    description: 'Packets waiting in the backlog now (kernel 5.10 and later).',
    source: 'net/softnet_stat column 12',
  },
});

/** All states that TCP has. */
export const connectionStates: readonly string[] = tcpStates.slice(1);

const inState = (state: string, name: string) =>
  ({ name: `kubeskoop_tcpsummary_${name}`, where: { 'network.connection.state': state }, type: 'gauge' }) as const;
const listener = {
  'network.local.address': { description: 'Address it listens on; 0.0.0.0 and :: are any.' },
  'network.local.port': { description: 'Port it listens on.' },
  'otel.metric.overflow': { description: 'True on the series that sums the listeners beyond max_listeners.' },
};

/** sock_diag: the TCP sockets of a namespace, both IP versions. */
export const tcpsummaryMetrics = defineMetrics({
  'system.network.connection.count': {
    instrument: 'updowncounter',
    unit: '{connection}',
    description: 'TCP sockets by state, IPv4 and IPv6 together.',
    attributes: {
      'network.transport': { description: 'Protocol.', values: ['tcp'] },
      'network.connection.state': { description: 'State.', values: connectionStates },
    },
    source: 'sock_diag, inet_diag_msg.idiag_state',
    scope: 'netns',
    maxSeries: connectionStates.length,
    kubeskoop: [
      inState('established', 'tcpestablishedconn'),
      inState('time_wait', 'tcptimewaitconn'),
      inState('close_wait', 'tcpclosewaitconn'),
      inState('syn_sent', 'tcpsynsentconn'),
      inState('syn_received', 'tcpsynrecvconn'),
    ],
  },
  'skoop.tcp.socket_queue': {
    instrument: 'updowncounter',
    unit: 'By',
    description: 'Bytes in the queues of TCP sockets: received and not yet read, written and not yet acknowledged.',
    attributes: { 'network.io.direction': direction },
    source: 'sock_diag, idiag_rqueue and idiag_wqueue of all but listeners',
    scope: 'netns',
    maxSeries: 2,
    kubeskoop: [
      { name: 'kubeskoop_tcpsummary_tcptxqueue', where: transmit, type: 'gauge' },
      { name: 'kubeskoop_tcpsummary_tcprxqueue', where: receive, type: 'gauge' },
    ],
  },
  'skoop.tcp.accept_queue': {
    instrument: 'updowncounter',
    unit: '{connection}',
    description: 'Established connections that wait for accept(), by listener.',
    attributes: listener,
    source: 'sock_diag, idiag_rqueue of listeners',
    scope: 'netns',
    maxSeries: 33,
  },
  'skoop.tcp.accept_queue_limit': {
    instrument: 'updowncounter',
    unit: '{connection}',
    description:
      'Connections that may wait for accept(), by listener: the backlog of listen(2), at most net.core.somaxconn.',
    attributes: listener,
    source: 'sock_diag, idiag_wqueue of listeners',
    scope: 'netns',
    maxSeries: 33,
  },
});
