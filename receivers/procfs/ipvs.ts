import type { Attributes } from '../../pipeline/catalogue.ts';
import { eachLine, parseHexNumbers, type Reject } from './lines.ts';
import { ipvsMetrics as m } from './metrics-ipvs.ts';
import { type Enabled, SeriesSet } from './series.ts';

/**
 * net/ip_vs_stats and net/ip_vs (net/netfilter/ipvs/ip_vs_ctl.c), of the node's own namespace: where kube-proxy works. Absent when the module is
 * not loaded.
 */

/** Totals since the module was loaded. */
export interface IpvsTotals {
  readonly connections: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** The third line of ip_vs_stats holds the totals: five hexadecimal numbers. Undefined when it does not. */
export function parseIpvsStats(text: Buffer, reject: Reject): IpvsTotals | undefined {
  const numbers = new Float64Array(5);
  let line = 0;
  let totals: IpvsTotals | undefined;
  eachLine(text, reject, (at, end) => {
    if (++line !== 3) return;
    const count = parseHexNumbers(text, at, end, numbers);
    if (count !== 5) return reject(count < 0 ? 'bad_number' : 'columns');
    const [connections, packetsIn, packetsOut, bytesIn, bytesOut] = numbers as unknown as number[];
    totals = { connections, packetsIn, packetsOut, bytesIn, bytesOut } as IpvsTotals;
  });
  return totals;
}

/** A virtual service or a real server. A firewall mark has its number as address and port 0. */
export interface IpvsEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface IpvsService extends IpvsEndpoint {
  readonly transport: 'tcp' | 'udp' | 'sctp' | 'fwm';
}

export interface IpvsDestination extends IpvsEndpoint {
  readonly weight: number;
  readonly active: number;
  readonly inactive: number;
}

export interface VisitIpvs {
  service(service: IpvsService): void;
  destination(service: IpvsService, destination: IpvsDestination): void;
}

const transports: Readonly<Record<string, IpvsService['transport']>> = {
  TCP: 'tcp',
  UDP: 'udp',
  SCTP: 'sctp',
  FWM: 'fwm',
};

/** Parses ip_vs: three header lines, then services, each followed by its real servers. */
export function parseIpvs(text: Buffer, reject: Reject, visit: VisitIpvs): void {
  let line = 0;
  let service: IpvsService | undefined;
  eachLine(text, reject, (at, end) => {
    if (++line <= 3) return;
    const words = text.toString('latin1', at, end).split(' ').filter(Boolean);
    if (words[0] === '->') {
      const destination = service && parseDestination(words);
      if (service && destination) visit.destination(service, destination);
      else reject('bad_line');
      return;
    }
    service = parseService(words);
    if (service) visit.service(service);
    else reject('bad_line');
  });
}

function parseService(words: readonly string[]): IpvsService | undefined {
  const transport = transports[words[0] ?? ''];
  const where = words[1] ?? '';
  if (transport === 'fwm') {
    return /^[0-9A-F]{8}$/.test(where)
      ? { transport, address: String(Number.parseInt(where, 16)), port: 0 }
      : undefined;
  }
  const endpoint = parseEndpoint(where);
  return transport && endpoint && { transport, ...endpoint };
}

/** `-> ADDRESS:PORT Forward Weight ActiveConn InActConn`. */
function parseDestination(words: readonly string[]): IpvsDestination | undefined {
  const endpoint = parseEndpoint(words[1] ?? '');
  const [weight, active, inactive] = words.slice(3).map((w) => (/^-?\d+$/.test(w) ? Number(w) : Number.NaN));
  if (
    !endpoint ||
    words.length !== 6 ||
    !Number.isFinite((weight as number) + (active as number) + (inactive as number))
  )
    return undefined;
  return { ...endpoint, weight, active, inactive } as IpvsDestination;
}

/** `0A600001:01BB` or `[fd00:0000:…:0001]:0050`: hexadecimal, in network order. */
function parseEndpoint(text: string): IpvsEndpoint | undefined {
  const v4 = /^([0-9A-F]{8}):([0-9A-F]{4})$/.exec(text);
  if (v4) {
    const n = Number.parseInt(v4[1] as string, 16);
    const address = `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
    return { address, port: Number.parseInt(v4[2] as string, 16) };
  }
  const v6 = /^\[([0-9a-f:]{2,39})\]:([0-9A-F]{4})$/.exec(text);
  return v6 ? { address: shortIpv6(v6[1] as string), port: Number.parseInt(v6[2] as string, 16) } : undefined;
}

/** Full form → RFC 5952, by way of the URL parser, which knows the rules. */
function shortIpv6(full: string): string {
  const host = URL.parse(`http://[${full}]/`)?.hostname;
  return host ? host.slice(1, -1) : full;
}

/** What one collection of ip_vs comes to. */
export class IpvsSummary implements VisitIpvs {
  services = 0;
  destinations = 0;
  servicesWithout = 0;
  readonly listed: { service: IpvsService; destination: IpvsDestination }[] = [];
  /** Sums over the real servers beyond the limit. */
  restActive = 0;
  restInactive = 0;
  restWeight = 0;
  readonly #max: number;
  #weight = 1;

  constructor(maxListed: number) {
    this.#max = maxListed;
  }

  service(): void {
    this.#closeService();
    this.services++;
    this.#weight = 0;
  }

  destination(service: IpvsService, destination: IpvsDestination): void {
    this.destinations++;
    this.#weight += destination.weight;
    if (this.listed.length < this.#max) {
      this.listed.push({ service, destination });
      return;
    }
    this.restActive += destination.active;
    this.restInactive += destination.inactive;
    this.restWeight += destination.weight;
  }

  /** Closes the books. */
  end(): this {
    this.#closeService();
    this.#weight = 1;
    return this;
  }

  #closeService(): void {
    if (this.#weight <= 0) this.servicesWithout++;
  }
}

/** Series of the totals, in a fixed order. */
export class IpvsSeries {
  readonly series = new SeriesSet();
  readonly #parts: readonly (readonly [
    slot: number,
    value: (t: IpvsTotals | undefined, s: IpvsSummary | undefined) => number,
  ])[];

  constructor(enabled: Enabled) {
    const receive = { 'network.io.direction': 'receive' };
    const transmit = { 'network.io.direction': 'transmit' };
    const add = (metric: Parameters<SeriesSet['add']>[0], attributes?: Attributes) =>
      this.series.addIf(enabled, metric, attributes);
    const absent = Number.NaN;
    this.#parts = [
      [add(m['skoop.ipvs.connections']), (t) => t?.connections ?? absent],
      [add(m['skoop.ipvs.packets'], receive), (t) => t?.packetsIn ?? absent],
      [add(m['skoop.ipvs.packets'], transmit), (t) => t?.packetsOut ?? absent],
      [add(m['skoop.ipvs.io'], receive), (t) => t?.bytesIn ?? absent],
      [add(m['skoop.ipvs.io'], transmit), (t) => t?.bytesOut ?? absent],
      [add(m['skoop.ipvs.services']), (_, s) => s?.services ?? absent],
      [add(m['skoop.ipvs.destinations']), (_, s) => s?.destinations ?? absent],
      [add(m['skoop.ipvs.services_without_destination']), (_, s) => s?.servicesWithout ?? absent],
    ];
  }

  values(totals: IpvsTotals | undefined, summary: IpvsSummary | undefined): Float64Array {
    const values = this.series.blank();
    for (const [slot, value] of this.#parts) if (slot >= 0) values[slot] = value(totals, summary);
    return values;
  }
}

/** Series and values of the real servers, when their metrics are on. The set changes with the services: a schema for each collection. */
export function destinationSeries(enabled: Enabled, summary: IpvsSummary): { series: SeriesSet; values: number[] } {
  const series = new SeriesSet();
  const values: number[] = [];
  const connections = m['skoop.ipvs.destination.connections'];
  const weight = m['skoop.ipvs.destination.weight'];
  const one = (attributes: Attributes, d: Pick<IpvsDestination, 'active' | 'inactive' | 'weight'>) => {
    if (enabled(connections)) {
      series.add(connections, { ...attributes, 'skoop.ipvs.state': 'active' });
      series.add(connections, { ...attributes, 'skoop.ipvs.state': 'inactive' });
      values.push(d.active, d.inactive);
    }
    if (enabled(weight)) {
      series.add(weight, attributes);
      values.push(d.weight);
    }
  };
  for (const { service, destination } of summary.listed) one(attributesOf(service, destination), destination);
  if (summary.destinations > summary.listed.length) {
    const { restActive: active, restInactive: inactive, restWeight } = summary;
    one({ 'otel.metric.overflow': true }, { active, inactive, weight: restWeight });
  }
  return { series, values };
}

function attributesOf(service: IpvsService, destination: IpvsDestination): Attributes {
  return {
    'network.transport': service.transport,
    'server.address': service.address,
    'server.port': service.port,
    'destination.address': destination.address,
    'destination.port': destination.port,
  };
}
