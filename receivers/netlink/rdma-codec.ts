/** RDMA devices over NETLINK_RDMA: include/uapi/rdma/rdma_netlink.h. Proved on captures: the build machines have no such hardware. */
import { AttributeCursor } from '../../host/netlink/attributes.ts';
import { type NetlinkMessage, netlinkRequest } from '../../host/netlink/message.ts';

const RDMA_NL_NLDEV = 5;
const nldev = (command: number): number => (RDMA_NL_NLDEV << 10) | command;
const attribute = {
  deviceIndex: 1,
  deviceName: 2,
  portIndex: 3,
  summary: 15,
  summaryEntry: 16,
  summaryName: 17,
  summaryCurrent: 18,
  counters: 80,
  counterEntry: 81,
  counterName: 82,
  counterValue: 83,
} as const;
const none = Buffer.alloc(0);

/** RDMA_NLDEV_CMD_GET, RDMA_NLDEV_CMD_RES_GET: dumps over all devices. */
export const deviceRequest = (): Buffer => netlinkRequest(nldev(1), 0, none);
export const resourceRequest = (): Buffer => netlinkRequest(nldev(9), 0, none);
/** RDMA_NLDEV_CMD_STAT_GET: the counters of one port. */
export const counterRequest = (device: number, port: number): Buffer =>
  netlinkRequest(nldev(17), 0, none, [
    [attribute.deviceIndex, device],
    [attribute.portIndex, port],
  ]);

export interface RdmaDevice {
  readonly index: number;
  readonly name: string;
  /** Ports are numbered from 1. */
  readonly ports: number;
}

const outer = new AttributeCursor();
const middle = new AttributeCursor();
const inner = new AttributeCursor();

/** Malformed attributes since the last call. */
export const takeRejects = (): number => outer.takeRejects() + middle.takeRejects() + inner.takeRejects();

/** Reads an answer to {@link deviceRequest}; undefined when it names no device. */
export function readDevice(message: NetlinkMessage): RdmaDevice | undefined {
  let index = Number.NaN;
  let name = '';
  let ports = 0;
  outer.reset(message.view, message.start, message.end);
  while (outer.next()) {
    if (outer.type === attribute.deviceIndex) index = outer.u32();
    else if (outer.type === attribute.deviceName) name = outer.text();
    else if (outer.type === attribute.portIndex) ports = outer.u32() || 0;
  }
  return Number.isNaN(index) || name === '' ? undefined : { index, name, ports };
}

/** Reads an answer to {@link resourceRequest}: device name, and what is in use of each kind. */
export function readResources(message: NetlinkMessage): { device: string; inUse: Map<string, number> } | undefined {
  let device = '';
  const inUse = new Map<string, number>();
  outer.reset(message.view, message.start, message.end);
  while (outer.next()) {
    if (outer.type === attribute.deviceName) device = outer.text();
    else if (outer.type === attribute.summary) {
      readPairs(inUse, attribute.summaryEntry, attribute.summaryName, attribute.summaryCurrent);
    }
  }
  return device === '' ? undefined : { device, inUse };
}

/** Reads an answer to {@link counterRequest}: counters by the driver's names. */
export function readCounters(message: NetlinkMessage): Map<string, number> {
  const counters = new Map<string, number>();
  outer.reset(message.view, message.start, message.end);
  while (outer.next()) {
    if (outer.type !== attribute.counters) continue;
    readPairs(counters, attribute.counterEntry, attribute.counterName, attribute.counterValue);
  }
  return counters;
}

/** A nest of entries, each with a name and a 64-bit number. */
function readPairs(into: Map<string, number>, entry: number, nameType: number, valueType: number): void {
  middle.enter(outer);
  while (middle.next()) {
    if (middle.type !== entry) continue;
    let name = '';
    let value = Number.NaN;
    inner.enter(middle);
    while (inner.next()) {
      if (inner.type === nameType) name = inner.text();
      else if (inner.type === valueType) value = inner.u64();
    }
    if (name !== '' && !Number.isNaN(value)) into.set(name, value);
  }
}
