/** For each alert the fault that it is for, made for real in pods and on the node of a bed, and undone. */
import { stringify } from 'yaml';
import type { Prometheus } from '../bed/prometheus.ts';
import type { Hands } from '../pods/faults-hands.ts';
import type { Site } from '../pods/faults-world.ts';

/** A node with two agents, one that watches it and one that gets into trouble itself, and pods. */
export interface AlertWorld {
  readonly node: Site;
  readonly client: Site;
  readonly server: Site;
  /** Sends over a path that loses segments; no other fault makes it send. */
  readonly sender: Site;
  readonly prometheus: Prometheus;
  /** Writes the config file of the agent that runs {@link troubledPipeline}. */
  setConfig(text: string): void;
  /** Hands of one fault alone, so that none waits for another. */
  hands(site: Site): Promise<Hands>;
}

export interface AlertFault {
  /** The alerts that it must fire. */
  readonly alerts: readonly string[];
  /** What is done, for the table. */
  readonly fault: string;
  /** Whose trouble the alerts must say it is; absent: that of an agent. */
  readonly of?: { readonly pod?: string };
  /** Further labels that each of them must carry. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What each summary must say. */
  readonly says: string;
  /** Sets the scene. */
  readonly prepare: (world: AlertWorld) => Promise<{
    /** Makes the fault, once more each time. */
    make(): Promise<unknown>;
    undo(): Promise<unknown>;
  }>;
}

const nothing = async () => {};
const port = { drops: 5353, accept: 8001, closed: 8002, lossy: 8003, udp: 8004, queued: 8005 };

const troubledAddress = '127.0.0.1:8889';
const pipeline = (probes: readonly string[], cri: object = {}) => ({
  receivers: {
    procfs: { collection_interval: '1s' },
    ebpf: { collection_interval: '1s', ring_size: '4KiB', probes: { packetloss: { rate_limit: 0 } } },
    'ebpf/huge': { ring_size: '4GiB' },
    cri,
  },
  processors: { netns: {}, pod: {} },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9466' },
    otlp: {
      endpoint: 'http://127.0.0.1:4318',
      sending_queue: { queue_size: 3000 },
      retry_on_failure: { initial_interval: '1s', max_interval: '1s' },
    },
    debug: {},
  },
  service: {
    telemetry: { metrics: { address: troubledAddress } },
    health: { address: '127.0.0.1:13134' },
    pipelines: {
      metrics: {
        receivers: ['procfs', 'cri', ...probes],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'otlp'],
      },
      logs: { receivers: probes, processors: ['netns', 'pod'], exporters: ['debug'] },
    },
  },
});
/** All that an agent may suffer: a ring of one page and one that no kernel gives, a small queue, a backend and a runtime that are away. */
export const troubledPipeline = pipeline(['ebpf', 'ebpf/huge'], {
  endpoint: 'unix:///run/skl/runtime.sock',
  collection_interval: '2s',
});
/** Of the same agent, when all is well. */
const mendedPipeline = stringify(pipeline(['ebpf']));

const podFaults: readonly AlertFault[] = [
  {
    alerts: ['SkooplinePodPacketDrops', 'KubeskoopPacketLoss'],
    fault: 'a rule in the pod drops UDP to one port; 101 datagrams a round',
    of: { pod: 'server-0' },
    says: 'The kernel drops packets of shop/server-0 on node-a',
    async prepare({ client, server, hands }) {
      const h = await hands(client);
      await server.sh(
        `nft 'add table ip fault; add chain ip fault in { type filter hook input priority 0; }; add rule ip fault in udp dport ${port.drops} drop'`,
      );
      return {
        make: () => h.run(`udp('${server.ip}', ${port.drops}, 101)`),
        undo: () => server.sh('nft delete table ip fault'),
      };
    },
  },
  {
    alerts: ['SkooplinePodAcceptQueueFull', 'KubeskoopListenOverflows'],
    fault: 'listen(1), nobody accepts; 7 connections a round',
    of: { pod: 'server-0' },
    says: 'shop/server-0 on node-a does not accept connections fast enough',
    async prepare({ client, server, hands }) {
      const [from, to] = [await hands(client), await hands(server)];
      await to.run(`ls = listen(${port.accept}, 1)`);
      await from.run('waiting = []');
      return {
        make: () => from.run(`waiting += opening('${server.ip}', ${port.accept}, 7)`),
        undo: async () => {
          await from.run('for c in waiting: c.close()');
          await to.run('ls.close()');
        },
      };
    },
  },
  {
    alerts: ['SkooplinePodConnectFailures'],
    fault: 'connections to a port where nobody listens; 23 a round',
    of: { pod: 'client-0' },
    labels: { error_type: 'ECONNREFUSED' },
    says: 'Connections of shop/client-0 on node-a fail',
    async prepare({ client, server, hands }) {
      const h = await hands(client);
      return { make: () => h.run(`connect('${server.ip}', ${port.closed}, 23)`), undo: nothing };
    },
  },
  {
    alerts: ['SkooplinePodRetransmits'],
    fault: 'one segment in seven lost on the way (nft numgen); 500 segments a round',
    of: { pod: 'sender-0' },
    says: 'shop/sender-0 on node-a sends many segments twice',
    async prepare({ sender, server, hands }) {
      const [from, to] = [await hands(sender), await hands(server)];
      await server.sh(
        `nft 'add table ip lossy; add chain ip lossy in { type filter hook input priority 0; }; add rule ip lossy in tcp dport ${port.lossy} tcp flags & (syn|fin) == 0 numgen inc mod 7 == 3 drop'`,
      );
      await to.run(`import threading
def drain():
    while True:
        s, _ = lossy.accept()
        while s.recv(65536): pass
        s.close()
lossy = listen(${port.lossy}); threading.Thread(target=drain, daemon=True).start()`);
      return {
        make: () =>
          from.run(`with socket.create_connection(('${server.ip}', ${port.lossy})) as c:
    c.setsockopt(6, 1, 1)
    for _ in range(500): c.sendall(b'x' * 1000)
    c.shutdown(1); c.recv(1)`),
        undo: () => server.sh('nft delete table ip lossy'),
      };
    },
  },
  {
    alerts: ['SkooplinePodUdpBufferFull'],
    fault: 'a UDP socket of 2304 bytes that nobody reads; 53 datagrams a round',
    of: { pod: 'server-0' },
    says: 'shop/server-0 on node-a does not read its datagrams fast enough',
    async prepare({ client, server, hands }) {
      const [from, to] = [await hands(client), await hands(server)];
      await to.run(
        `u = socket.socket(socket.AF_INET, UDP); u.setsockopt(1, 8, 2304); u.bind(('0.0.0.0', ${port.udp}))`,
      );
      return { make: () => from.run(`udp('${server.ip}', ${port.udp}, 53)`), undo: () => to.run('u.close()') };
    },
  },
  {
    alerts: ['SkooplinePodOpenFiles'],
    fault: 'a process in the container has 40 of its 41 files open',
    of: { pod: 'client-0' },
    says: 'shop/client-0 on node-a is close to its limit of open files',
    async prepare({ client }) {
      const files = Array(37).fill('/bin/busybox').join(' ');
      const open = `(ulimit -n 41; exec tail -f ${files}) < /dev/null > /dev/null 2>&1 & echo $! > /tmp/tail`;
      await client.pod!.exec(['sh', '-c', open]);
      return { make: nothing, undo: () => client.pod!.exec(['sh', '-c', 'kill $(cat /tmp/tail)']) };
    },
  },
];

const nodeFaults: readonly AlertFault[] = [
  {
    alerts: ['SkooplineConntrackNearlyFull', 'KubeskoopConntrackNearlyFull'],
    fault: 'assured connections put into 95 % of the table by ctnetlink',
    of: {},
    says: 'The conntrack table of node-a is nearly full',
    async prepare({ node, hands }) {
      const h = await hands(node);
      const limit = Number(await node.sh('cat /proc/sys/net/netfilter/nf_conntrack_max'));
      await h.run(`fill_conntrack(${Math.ceil(limit * 0.95)})`);
      return { make: nothing, undo: () => node.sh('conntrack -F') };
    },
  },
  {
    alerts: ['SkooplineConntrackInsertFailed'],
    fault: 'pairs of packets of one new connection that race for its entry (NFQUEUE holds both); 7 a round',
    of: {},
    says: 'Connections are lost in conntrack of node-a',
    async prepare({ node, client, hands }) {
      const h = await hands(node);
      const rule = `OUTPUT -p tcp --dport ${port.queued} -j NFQUEUE --queue-num 1`;
      await node.sh(`iptables -w -A INPUT -m conntrack --ctstate INVALID; iptables -w -A ${rule}`);
      let round = 0;
      return {
        // Another address of the pods' network each time: the connections of the last round are in the table.
        make: () => h.run(`race_in_conntrack('198.18.2.${++round}', '${client.ip}', ${port.queued}, 7)`),
        undo: () => node.sh(`iptables -w -D ${rule}; iptables -w -D INPUT -m conntrack --ctstate INVALID`),
      };
    },
  },
  {
    alerts: ['SkooplineSoftnetDrops', 'KubeskoopSoftnetDrops'],
    fault: '64 broadcast frames at once to the 17 ports of a bridge: 87 more than a backlog of 1000 takes',
    of: {},
    says: 'node-a receives faster than it processes',
    async prepare({ node, hands }) {
      const h = await hands(node);
      // Cut into 64 frames below the bridge, in one stretch in which the CPU takes none from its backlog.
      await node.sh(`ip link add flood type bridge; ip link set flood up; ip addr add 10.99.0.1/24 brd + dev flood
for i in $(seq 17); do ip link add fa$i type veth peer name fb$i; ip link set fa$i master flood up; ip link set fb$i up; done
ethtool -K flood tx-udp-segmentation off`);
      return {
        make: () =>
          h.run(`s = socket.socket(socket.AF_INET, UDP); s.setsockopt(1, 6, 1); s.setsockopt(17, 103, 400)
s.sendto(b'x' * 400 * 64, ('10.99.0.255', 9)); s.close()`),
        undo: () => node.sh('for i in $(seq 17); do ip link del fa$i; done; ip link del flood'),
      };
    },
  },
  {
    alerts: ['SkooplineInterfaceErrors'],
    fault: 'an overlay (VXLAN) whose far end has no route; 37 frames a round',
    of: {},
    labels: { network_interface_name: 'overlay' },
    says: 'overlay of node-a has errors',
    async prepare({ node, hands }) {
      const h = await hands(node);
      await node.sh(`ip link add overlay type vxlan id 7 dstport 4789 remote 203.0.113.9
ip link set overlay up; ip addr add 10.98.0.1/24 dev overlay; ip neigh add 10.98.0.2 lladdr 02:00:00:00:00:01 dev overlay`);
      return { make: () => h.run(`udp('10.98.0.2', 9, 37)`), undo: () => node.sh('ip link del overlay') };
    },
  },
  {
    alerts: ['SkooplineNeighbourTableNearlyFull'],
    fault: 'neighbours on one interface until the IPv6 table is 92 % full',
    of: {},
    labels: { network_type: 'ipv6' },
    says: 'The ipv6 neighbour table of node-a is nearly full',
    async prepare({ node }) {
      await node.sh('ip link add crowd type bridge; ip link set crowd up');
      // The table is one for the whole machine, and others need it, too: never more than 92 %. All of ours anew each round, since the kernel throws out
      // those that are older than 5 s when somebody else needs one.
      const fill = `table=$(ip -s ntable show name ndisc_cache)
limit=$(grep -om1 'thresh3 [0-9]*' <<< "$table" | cut -d' ' -f2) entries=$(grep -om1 'entries [0-9]*' <<< "$table" | cut -d' ' -f2)
have=$(ip -6 neigh show dev crowd | wc -l)
n=$((have + limit * 92 / 100 - entries))
[ $n -le 0 ] || for i in $(seq $n); do printf 'neigh replace fe80::%x lladdr 02:00:00:00:00:01 dev crowd nud stale\n' $i; done | ip -6 -batch -`;
      return { make: () => node.sh(fill), undo: () => node.sh('ip link del crowd') };
    },
  },
];

const agentFaults: readonly AlertFault[] = [
  {
    alerts: ['SkooplineQueueNearlyFull', 'SkooplineExporterFails'],
    fault: 'the backend is away; the queue holds 3000 data points',
    labels: { instance: troubledAddress, exporter: 'otlp' },
    says: `otlp on ${troubledAddress}`,
    async prepare({ node, hands }) {
      const h = await hands(node);
      return { make: nothing, undo: () => h.run('take_posts(4318, 200)') };
    },
  },
  {
    alerts: ['SkooplineEventsLost'],
    fault: 'a ring of 4 KiB; 2003 datagrams to a closed port a round',
    of: {},
    labels: { skoop_probe: 'packetloss' },
    says: 'Events of the probe packetloss are lost on node-a',
    async prepare({ client, server, hands }) {
      const h = await hands(client);
      return { make: () => h.run(`udp('${server.ip}', ${port.closed}, 2003)`), undo: nothing };
    },
  },
  {
    alerts: ['SkooplineComponentFailed'],
    fault: 'a receiver wants a ring of 4 GiB, which the kernel refuses',
    labels: { instance: troubledAddress, kind: 'receiver', component: 'ebpf/huge' },
    says: `The receiver ebpf/huge of ${troubledAddress} does not work`,
    async prepare({ setConfig }) {
      return { make: nothing, undo: async () => setConfig(mendedPipeline) };
    },
  },
  {
    alerts: ['SkooplineReceiverFails'],
    fault: 'the container runtime is gone, its socket still there',
    labels: { instance: troubledAddress, receiver: 'cri', what: 'runtime' },
    says: `the receiver cri of ${troubledAddress} does not work: runtime`,
    async prepare({ node, hands, setConfig }) {
      const h = await hands(node);
      await h.run("s = socket.socket(socket.AF_UNIX); s.bind('/run/skl/runtime.sock'); s.close()");
      return { make: nothing, undo: async () => setConfig(mendedPipeline) };
    },
  },
  {
    alerts: ['SkooplineConfigRefused'],
    fault: 'its config file has a mistake',
    labels: { instance: troubledAddress },
    says: `${troubledAddress} did not take its new config`,
    async prepare({ setConfig }) {
      setConfig(stringify(troubledPipeline).replace('ring_size: 4KiB', 'ring_siez: 4KiB'));
      return { make: nothing, undo: async () => setConfig(mendedPipeline) };
    },
  },
];

export const alertFaults: readonly AlertFault[] = [...podFaults, ...nodeFaults, ...agentFaults];
