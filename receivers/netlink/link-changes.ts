import type { Link, LinkAddress } from './link-codec.ts';

/** One change of an interface. */
export interface LinkChange {
  readonly name: string;
  readonly change:
    | 'appeared'
    | 'removed'
    | 'renamed'
    | 'admin_up'
    | 'admin_down'
    | 'carrier_lost'
    | 'carrier_gained'
    | 'mtu'
    | 'hardware_address'
    | 'master'
    | 'address_added'
    | 'address_removed';
  readonly before?: string;
  readonly after?: string;
  /** How often, where more than once. */
  readonly count?: number;
}

/**
 * What is known of one namespace's interfaces, from dumps and from single messages; tells what each changes. Dump and message may
 * say the same twice: the second time nothing has changed.
 */
export class LinkState {
  readonly #ignore: (link: Link) => boolean;
  #links: Map<number, Link> | undefined;
  #addresses: Map<string, LinkAddress> | undefined;

  constructor(ignore: (link: Link) => boolean) {
    this.#ignore = ignore;
  }

  /** Takes a whole dump. The first one is where things start, not a change. */
  replaceLinks(links: ReadonlyMap<number, Link>): LinkChange[] {
    const before = this.#links;
    this.#links = new Map(links);
    if (before === undefined) return [];
    const changes: LinkChange[] = [];
    for (const link of links.values()) changes.push(...this.#compare(before.get(link.index), link));
    for (const link of before.values()) {
      if (!links.has(link.index) && !this.#ignore(link)) changes.push({ name: link.name, change: 'removed' });
    }
    return changes;
  }

  /** Takes one RTM_NEWLINK; before the first dump it is ignored. */
  updateLink(link: Link): LinkChange[] {
    if (this.#links === undefined) return [];
    const changes = this.#compare(this.#links.get(link.index), link);
    this.#links.set(link.index, link);
    return changes;
  }

  /** Takes one RTM_DELLINK. */
  removeLink(index: number): LinkChange[] {
    const link = this.#links?.get(index);
    if (link === undefined) return [];
    this.#links?.delete(index);
    return this.#ignore(link) ? [] : [{ name: link.name, change: 'removed' }];
  }

  replaceAddresses(addresses: readonly LinkAddress[]): LinkChange[] {
    const before = this.#addresses;
    this.#addresses = new Map(addresses.map((a) => [keyOf(a), a]));
    if (before === undefined) return [];
    const now = this.#addresses;
    const added = addresses.filter((a) => !before.has(keyOf(a))).map((a) => this.#addressChange(a, true));
    const removed = [...before.values()].filter((a) => !now.has(keyOf(a))).map((a) => this.#addressChange(a, false));
    return [...added, ...removed].filter((c) => c !== undefined);
  }

  /** Takes one RTM_NEWADDR or RTM_DELADDR. */
  updateAddress(address: LinkAddress, added: boolean): LinkChange[] {
    if (this.#addresses === undefined || this.#addresses.has(keyOf(address)) === added) return [];
    if (added) this.#addresses.set(keyOf(address), address);
    else this.#addresses.delete(keyOf(address));
    const change = this.#addressChange(address, added);
    return change === undefined ? [] : [change];
  }

  /** Addresses of an interface that is gone went with it and are not news. */
  #addressChange(a: LinkAddress, added: boolean): LinkChange | undefined {
    const link = this.#links?.get(a.index);
    if (link === undefined || this.#ignore(link)) return undefined;
    return added
      ? { name: link.name, change: 'address_added', after: a.address }
      : { name: link.name, change: 'address_removed', before: a.address };
  }

  #compare(before: Link | undefined, now: Link): LinkChange[] {
    if (this.#ignore(now)) return [];
    const { name } = now;
    if (before === undefined) return [{ name, change: 'appeared' }];
    const changes: LinkChange[] = [];
    if (before.name !== name) changes.push({ name, change: 'renamed', before: before.name, after: name });
    if (before.up !== now.up) changes.push({ name, change: now.up ? 'admin_up' : 'admin_down' });
    changes.push(...carrierChanges(before, now));
    const compareText = (change: LinkChange['change'], old: string | number, value: string | number) => {
      if (old !== value) changes.push({ name, change, before: String(old), after: String(value) });
    };
    compareText('mtu', before.mtu, now.mtu);
    compareText('hardware_address', before.hardwareAddress, now.hardwareAddress);
    compareText('master', this.#nameOf(before.master), this.#nameOf(now.master));
    return changes;
  }

  #nameOf(index: number): string {
    return index === 0 ? 'none' : (this.#links?.get(index)?.name ?? String(index));
  }
}

const keyOf = (a: LinkAddress): string => `${a.index} ${a.address}`;

/** By the kernel's counts, so that a flap between two looks is seen; by the state where it does not count. */
function carrierChanges(before: Link, now: Link): LinkChange[] {
  const { name } = now;
  const changes: LinkChange[] = [];
  const lost = Number.isNaN(now.carrierDowns)
    ? Number(before.carrier && !now.carrier)
    : now.carrierDowns - before.carrierDowns;
  const gained = Number.isNaN(now.carrierUps)
    ? Number(!before.carrier && now.carrier)
    : now.carrierUps - before.carrierUps;
  if (lost > 0) changes.push({ name, change: 'carrier_lost', ...(lost > 1 && { count: lost }) });
  if (gained > 0) changes.push({ name, change: 'carrier_gained', ...(gained > 1 && { count: gained }) });
  // The last state last.
  return now.carrier ? changes : changes.reverse();
}
