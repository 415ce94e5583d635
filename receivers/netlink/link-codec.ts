/** Interfaces and their addresses over rtnetlink: include/uapi/linux/if_link.h, if_addr.h, rtnetlink(7). */
import { AttributeCursor } from '../../host/netlink/attributes.ts';
import { type NetlinkMessage, netlinkRequest } from '../../host/netlink/message.ts';
import { AF_INET, AF_INET6, ipv4Text, ipv6Text } from '../../host/netlink/sock-diag.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
/** Multicast groups: links, IPv4 addresses, IPv6 addresses. */
export const linkGroups: readonly number[] = [1, 5, 9];

const IFLA_EXT_MASK = 29;
/** Leave the traffic counters out: they are most of the message. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3;
const IFF_UP = 1;
/** Address families of `ifinfomsg` whose messages are about the interface itself: AF_UNSPEC. */
const AF_UNSPEC = 0;
/** Bytes of `struct ifinfomsg` and `struct ifaddrmsg`. */
const linkBytes = 16;
const addressBytes = 8;

export const linkRequest = (): Buffer =>
  netlinkRequest(RTM_GETLINK, 0, Buffer.alloc(linkBytes), [[IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS]]);
export const addressRequest = (): Buffer => netlinkRequest(RTM_GETADDR, 0, Buffer.alloc(addressBytes));

/** An interface, as far as changes of it are reported. Counts are NaN where the kernel gives none. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `vlan`, …; empty for hardware. */
  readonly kind: string;
  readonly mtu: number;
  /** Set up by its administrator. */
  readonly up: boolean;
  /** Has a carrier. */
  readonly carrier: boolean;
  /** `52:54:00:12:34:56`. */
  readonly hardwareAddress: string;
  /** Index of its bridge, bond or VRF; 0 for none. */
  readonly master: number;
  readonly carrierUps: number;
  readonly carrierDowns: number;
}

export interface LinkAddress {
  readonly index: number;
  /** `10.0.0.1/24`. */
  readonly address: string;
}

const outer = new AttributeCursor();
const inner = new AttributeCursor();

/** Malformed attributes since the last call. */
export const takeRejects = (): number => outer.takeRejects() + inner.takeRejects();

/**
 * Whether a link message is about an interface, and not what another family keeps of it: a bridge tells in AF_BRIDGE of its ports, on the same
 * group and without carrier or kind, and its RTM_DELLINK is a port that left (net/bridge/br_netlink.c, br_ifinfo_notify).
 */
export const isOfInterface = ({ view, start, end }: NetlinkMessage): boolean =>
  end <= start || view.getUint8(start) === AF_UNSPEC;

/** Reads RTM_NEWLINK or RTM_DELLINK; undefined when it is too short or nameless. */
export function readLink(message: NetlinkMessage): Link | undefined {
  const { view, start, end } = message;
  if (end - start < linkBytes) return undefined;
  const link = {
    index: view.getInt32(start + 4, true),
    name: '',
    kind: '',
    mtu: Number.NaN,
    up: (view.getUint32(start + 8, true) & IFF_UP) !== 0,
    carrier: false,
    hardwareAddress: '',
    master: 0,
    carrierUps: Number.NaN,
    carrierDowns: Number.NaN,
  };
  outer.reset(view, start + linkBytes, end);
  while (outer.next()) {
    switch (outer.type) {
      case 1:
        link.hardwareAddress = outer
          .bytes()
          .toString('hex')
          .replace(/(..)(?=.)/g, '$1:');
        break;
      case 3:
        link.name = outer.text();
        break;
      case 4:
        link.mtu = outer.u32();
        break;
      case 10:
        link.master = outer.u32() || 0;
        break;
      case 18:
        link.kind = readKind();
        break;
      case 33:
        link.carrier = outer.u8() === 1;
        break;
      case 47:
        link.carrierUps = outer.u32();
        break;
      case 48:
        link.carrierDowns = outer.u32();
        break;
    }
  }
  return link.name === '' ? undefined : link;
}

function readKind(): string {
  inner.enter(outer);
  while (inner.next()) if (inner.type === 1) return inner.text();
  return '';
}

/** Reads RTM_NEWADDR or RTM_DELADDR; undefined when it has no IP address. */
export function readAddress(message: NetlinkMessage): LinkAddress | undefined {
  const { view, start, end } = message;
  if (end - start < addressBytes) return undefined;
  const family = view.getUint8(start);
  const prefix = view.getUint8(start + 1);
  const index = view.getUint32(start + 4, true);
  let address = '';
  outer.reset(view, start + addressBytes, end);
  while (outer.next()) {
    // IFA_LOCAL is the own address where IFA_ADDRESS is the peer's (point to point).
    if (outer.type !== 2 && (outer.type !== 1 || address !== '')) continue;
    if (family === AF_INET && outer.length >= 4) address = ipv4Text(view, outer.start);
    else if (family === AF_INET6 && outer.length >= 16) address = ipv6Text(view, outer.start);
  }
  return address === '' ? undefined : { index, address: `${address}/${prefix}` };
}
