import {
  addressRequest,
  type Link,
  type LinkAddress,
  linkRequest,
  readAddress,
  readLink,
  takeRejects,
} from './link-codec.ts';
import type { NetnsVisit } from './scraper.ts';

/** Links of each namespace, dumped once a round whoever asks. */
export class LinkTables {
  readonly #round = new Map<number, Promise<ReadonlyMap<number, Link>>>();

  begin(): void {
    this.#round.clear();
  }

  /** Interface index → link. */
  links(ns: NetnsVisit): Promise<ReadonlyMap<number, Link>> {
    let links = this.#round.get(ns.info.life);
    if (links === undefined) {
      links = dumpLinks(ns);
      this.#round.set(ns.info.life, links);
    }
    return links;
  }

  /** Interface index → name. */
  async names(ns: NetnsVisit): Promise<ReadonlyMap<number, string>> {
    const links = await this.links(ns);
    return new Map([...links.values()].map((l) => [l.index, l.name]));
  }
}

async function dumpLinks(ns: NetnsVisit): Promise<Map<number, Link>> {
  const links = new Map<number, Link>();
  let bad = 0;
  const outcome = await ns.route.dump(
    linkRequest(),
    (message) => {
      const link = readLink(message);
      if (link) links.set(link.index, link);
      else bad++;
    },
    { restart: () => links.clear() },
  );
  report(ns, bad + outcome.malformed, outcome.interrupted);
  return links;
}

/** Addresses of every interface of the namespace. */
export async function dumpAddresses(ns: NetnsVisit): Promise<LinkAddress[]> {
  const addresses: LinkAddress[] = [];
  let bad = 0;
  const outcome = await ns.route.dump(
    addressRequest(),
    (message) => {
      const address = readAddress(message);
      if (address) addresses.push(address);
      else bad++;
    },
    {
      restart: () => {
        addresses.length = 0;
      },
    },
  );
  report(ns, bad + outcome.malformed, outcome.interrupted);
  return addresses;
}

function report(ns: NetnsVisit, bad: number, interrupted: boolean): void {
  const n = bad + takeRejects();
  if (n > 0) ns.rejected('malformed_link', n);
  if (interrupted) ns.rejected('dump_interrupted');
}
