import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import { makeSchema, noResource, type Snapshot } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { rdmaMetrics as m } from './metrics-rdma.ts';
import {
  counterRequest,
  deviceRequest,
  type RdmaDevice,
  readCounters,
  readDevice,
  readResources,
  resourceRequest,
  takeRejects,
} from './rdma-codec.ts';
import type { Enabled, NetnsVisit, Scraper } from './scraper.ts';

interface Value {
  readonly metric: MetricDefinition;
  readonly attributes: Attributes;
  readonly value: number;
}

/** Series of all devices at most; drivers have about 100 counters a port. */
const maxValues = 4000;

/** `mlx5_0` → mlx5, as KubeSkoop names types. */
export function driverOf(device: string): string {
  if (device.startsWith('mlx5')) return 'mlx5';
  return device.startsWith('erdma') ? 'erdma' : 'unknown';
}

/** Counters of one port as values: what has a meaning everywhere, and each under the driver's own name. */
export function portValues(device: string, port: number, counters: ReadonlyMap<string, number>): Value[] {
  const attributes = {
    'skoop.rdma.device': device,
    'skoop.rdma.driver': driverOf(device),
    'skoop.rdma.port': String(port),
  };
  const out: Value[] = [];
  const add = (metric: MetricDefinition, direction: string, name: string, factor: number) => {
    const value = counters.get(name);
    if (value === undefined) return;
    out.push({ metric, attributes: { ...attributes, 'network.io.direction': direction }, value: value * factor });
  };
  // The InfiniBand counters count words of 4 bytes (IBA 16.1.3.5).
  add(m['skoop.rdma.io'], 'receive', 'port_rcv_data', 4);
  add(m['skoop.rdma.io'], 'transmit', 'port_xmit_data', 4);
  add(m['skoop.rdma.io'], 'receive', 'hw_rx_bytes_cnt', 1);
  add(m['skoop.rdma.io'], 'transmit', 'hw_tx_bytes_cnt', 1);
  add(m['skoop.rdma.packets'], 'receive', 'port_rcv_packets', 1);
  add(m['skoop.rdma.packets'], 'transmit', 'port_xmit_packets', 1);
  add(m['skoop.rdma.packets'], 'receive', 'hw_rx_packets_cnt', 1);
  add(m['skoop.rdma.packets'], 'transmit', 'hw_tx_packets_cnt', 1);
  for (const [name, value] of counters) {
    out.push({ metric: m['skoop.rdma.counters'], attributes: { ...attributes, 'skoop.rdma.counter': name }, value });
  }
  return out;
}

/** Counters of a port from sysfs: `counters` (which netlink does not have) and, when asked, `hw_counters`. */
export function readPortFiles(root: ProcRoot, device: string, port: number, hardware: boolean): Map<string, number> {
  const counters = new Map<string, number>();
  for (const folder of hardware ? ['counters', 'hw_counters'] : ['counters']) {
    const path = root.sys('class/infiniband', device, 'ports', port, folder);
    for (const name of root.list(path)) {
      if (name === 'lifespan') continue;
      const text = root.tryReadText(`${path}/${name}`)?.trim();
      // Counters a port does not support read as `N/A (no PMA)`.
      if (text !== undefined && /^\d+$/.test(text)) counters.set(name, Number(text));
    }
  }
  return counters;
}

/** RDMA devices of the node. */
export class RdmaScraper implements Scraper {
  readonly families = [] as const;
  readonly #root: ProcRoot;
  readonly #enabled: Enabled;
  #snapshots: Snapshot[] = [];

  constructor(root: ProcRoot, enabled: Enabled) {
    this.#root = root;
    this.#enabled = enabled;
  }

  begin(): void {
    this.#snapshots = [];
  }

  async visit(ns: NetnsVisit): Promise<void> {
    if (!ns.info.host) return;
    const names = this.#root.list(this.#root.sys('class/infiniband'));
    if (names.length === 0)
      throw new AbsentError('This node has no RDMA device (no entry in class/infiniband of sysfs).');
    const values = (await this.#read(names, ns)).filter((v) => this.#enabled(v.metric));
    if (values.length > maxValues) ns.dropped('series_limit', values.length - maxValues);
    const kept = values.slice(0, maxValues);
    this.#snapshots.push({
      owner: undefined,
      resource: noResource,
      startTimeMs: ns.startTimeMs,
      timeMs: ns.timeMs,
      schema: makeSchema(kept),
      values: Float64Array.from(kept, (v) => v.value),
    });
  }

  finish(): readonly Snapshot[] {
    return this.#snapshots;
  }

  /** Without the netlink family (kernels before 4.16, or ib_core not loaded) sysfs alone is read: no resources then. */
  async #read(names: readonly string[], ns: NetnsVisit): Promise<Value[]> {
    let socket: NetlinkSocket | undefined;
    try {
      socket = NetlinkSocket.open({ protocol: NetlinkProtocol.rdma });
    } catch {
      return names.flatMap((name) => this.#filesOf(name));
    }
    try {
      return await this.#ask(socket, ns);
    } finally {
      socket.close();
    }
  }

  #filesOf(device: string): Value[] {
    return this.#root
      .list(this.#root.sys('class/infiniband', device, 'ports'))
      .flatMap((port) => portValues(device, Number(port), readPortFiles(this.#root, device, Number(port), true)));
  }

  async #ask(socket: NetlinkSocket, ns: NetnsVisit): Promise<Value[]> {
    const devices: RdmaDevice[] = [];
    const values: Value[] = [];
    let bad = 0;
    await socket.dump(deviceRequest(), (message) => {
      const device = readDevice(message);
      if (device) devices.push(device);
      else bad++;
    });
    await socket.dump(resourceRequest(), (message) => {
      const resources = readResources(message);
      if (resources) values.push(...resourceValues(resources.device, resources.inUse));
      else bad++;
    });
    for (const device of devices) {
      for (let port = 1; port <= device.ports; port++) {
        values.push(...portValues(device.name, port, await this.#countersOf(socket, device, port)));
      }
    }
    bad += takeRejects();
    if (bad > 0) ns.rejected('malformed_rdma', bad);
    return values;
  }

  /** Hardware counters over netlink; from sysfs where the driver has none there. */
  async #countersOf(socket: NetlinkSocket, device: RdmaDevice, port: number): Promise<Map<string, number>> {
    const hardware = new Map<string, number>();
    try {
      await socket.request(counterRequest(device.index, port), (message) => {
        for (const [name, value] of readCounters(message)) hardware.set(name, value);
      });
    } catch {
      return readPortFiles(this.#root, device.name, port, true);
    }
    return new Map([...readPortFiles(this.#root, device.name, port, hardware.size === 0), ...hardware]);
  }
}

function resourceValues(device: string, inUse: ReadonlyMap<string, number>): Value[] {
  return [...inUse].map(([resource, value]) => ({
    metric: m['skoop.rdma.resources'],
    attributes: {
      'skoop.rdma.device': device,
      'skoop.rdma.driver': driverOf(device),
      'skoop.rdma.resource': resource,
    },
    value,
  }));
}
