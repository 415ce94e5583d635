import { makeSchema, type Schema, type Snapshot } from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import type { LinkTables } from './link-table.ts';
import { qdiscMetrics as m } from './metrics-qdisc.ts';
import { dropReasons, flowStates, newRow, type QdiscRow, qdiscRequest, readQdisc, takeRejects } from './qdisc-codec.ts';
import { Beginnings, type Enabled, type NetnsVisit, type Scraper, snapshot } from './scraper.ts';

/** Sums of one kind on one interface: the top qdisc's own numbers, and details of all of the kind. */
interface Sum {
  readonly interfaceIndex: number;
  readonly kind: string;
  readonly values: Float64Array;
}

const totals: readonly (readonly [metric: MetricDefinition, value: (row: QdiscRow) => number])[] = [
  [m['skoop.qdisc.io'], (r) => r.bytes],
  [m['skoop.qdisc.packets'], (r) => r.packets],
  [m['skoop.qdisc.drops'], (r) => r.drops],
  [m['skoop.qdisc.requeues'], (r) => r.requeues],
  [m['skoop.qdisc.overlimits'], (r) => r.overlimits],
  [m['skoop.qdisc.queue.length'], (r) => r.queueLength],
  [m['skoop.qdisc.queue.size'], (r) => r.backlogBytes],
];
const details: readonly (readonly [metric: MetricDefinition, extra: Attributes, value: (row: QdiscRow) => number])[] = [
  [m['skoop.qdisc.ecn_marked'], {}, (r) => r.ecnMarked],
  [m['skoop.qdisc.throttled'], {}, (r) => r.throttled],
  ...dropReasons.map(
    (reason, i) =>
      [
        m['skoop.qdisc.drop_reasons'],
        { 'skoop.qdisc.reason': reason },
        (r: QdiscRow) => r.dropReasons[i] as number,
      ] as const,
  ),
  ...flowStates.map(
    (state, i) =>
      [m['skoop.qdisc.flows'], { 'skoop.qdisc.flow.state': state }, (r: QdiscRow) => r.flows[i] as number] as const,
  ),
];
const slotsOfSum = totals.length + details.length;

/** Kinds that never queue or count: a device with one of these has nothing to say. */
const silent: ReadonlySet<string> = new Set(['noqueue']);

/** Schemas remembered; a node has few shapes (pods look alike). */
const maxSchemas = 500;

/** Queueing disciplines by interface and kind. */
export class QdiscScraper implements Scraper {
  readonly families = ['route'] as const;
  readonly #enabled: Enabled;
  readonly #maxInterfaces: number;
  readonly #links: LinkTables;
  readonly #row = newRow();
  readonly #schemas = new Map<string, { schema: Schema; picks: readonly (readonly [sum: number, slot: number])[] }>();
  readonly #beginnings = new Beginnings();
  #snapshots: Snapshot[] = [];

  constructor(options: { readonly max_interfaces: number }, enabled: Enabled, links: LinkTables) {
    this.#enabled = enabled;
    this.#maxInterfaces = options.max_interfaces;
    this.#links = links;
  }

  begin(): void {
    this.#links.begin();
    this.#snapshots = [];
  }

  async visit(ns: NetnsVisit): Promise<void> {
    const sums = await this.#read(ns);
    if (sums.length === 0) return;
    const names = await this.#links.names(ns);
    // A device that went between the two dumps has no name any more, and no series.
    const named = sums.filter((s) => names.has(s.interfaceIndex));
    const kept = named.slice(0, this.#maxInterfaces);
    if (kept.length < named.length) ns.dropped('interface_limit', named.length - kept.length);
    const { schema, picks } = this.#shape(kept, (s) => names.get(s.interfaceIndex) ?? '');
    const values = Float64Array.from(picks, ([sum, slot]) => kept[sum]?.values[slot] ?? Number.NaN);
    if (schema.slots > 0) this.#snapshots.push(snapshot(ns, schema, values, this.#beginnings.next(ns, schema, values)));
  }

  finish(alive: ReadonlySet<number>): readonly Snapshot[] {
    this.#beginnings.prune(alive);
    return this.#snapshots;
  }

  async #read(ns: NetnsVisit): Promise<Sum[]> {
    const sums = new Map<string, Sum>();
    let bad = 0;
    const outcome = await ns.route.dump(
      qdiscRequest(),
      (message) => {
        const row = this.#row;
        if (!readQdisc(message, row)) bad++;
        else if (!silent.has(row.kind)) add(sums, row);
      },
      { restart: () => sums.clear() },
    );
    bad += takeRejects() + outcome.malformed;
    if (bad > 0) ns.rejected('malformed_qdisc', bad);
    if (outcome.interrupted) ns.rejected('dump_interrupted');
    return [...sums.values()].sort((a, b) => a.interfaceIndex - b.interfaceIndex || (a.kind < b.kind ? -1 : 1));
  }

  /** The series of a set of sums: those that have a value at all. The same set gives the same schema object. */
  #shape(sums: readonly Sum[], nameOf: (sum: Sum) => string) {
    const key = sums.map((s) => `${nameOf(s)} ${s.kind} ${presence(s.values)}`).join('\n');
    const known = this.#schemas.get(key);
    if (known !== undefined) return known;
    const series: { metric: MetricDefinition; attributes: Attributes }[] = [];
    const picks: [number, number][] = [];
    sums.forEach((sum, i) => {
      const device = { 'network.interface.name': nameOf(sum), 'skoop.qdisc.kind': sum.kind };
      sum.values.forEach((value, slot) => {
        const metric = totals[slot]?.[0] ?? details[slot - totals.length]?.[0];
        if (Number.isNaN(value) || metric === undefined || !this.#enabled(metric)) return;
        series.push({ metric, attributes: { ...device, ...details[slot - totals.length]?.[1] } });
        picks.push([i, slot]);
      });
    });
    if (this.#schemas.size >= maxSchemas) this.#schemas.clear();
    const shape = { schema: makeSchema(series), picks };
    this.#schemas.set(key, shape);
    return shape;
  }
}

/** Which values are there, as a key. */
function presence(values: Float64Array): string {
  let bits = 0;
  values.forEach((v, i) => {
    if (!Number.isNaN(v)) bits |= 1 << i;
  });
  return bits.toString(36);
}

/** A top qdisc gives its totals (they include its children's); every qdisc adds its details to those of its kind. */
function add(sums: Map<string, Sum>, row: QdiscRow): void {
  if (!row.top && !details.some(([, , value]) => !Number.isNaN(value(row)))) return;
  const key = `${row.interfaceIndex} ${row.kind}`;
  let sum = sums.get(key);
  if (sum === undefined) {
    sum = {
      interfaceIndex: row.interfaceIndex,
      kind: row.kind,
      values: new Float64Array(slotsOfSum).fill(Number.NaN),
    };
    sums.set(key, sum);
  }
  const { values } = sum;
  for (const [i, [, value]] of totals.entries()) if (row.top) addTo(values, i, value(row));
  for (const [i, [, , value]] of details.entries()) addTo(values, totals.length + i, value(row));
}

function addTo(values: Float64Array, slot: number, value: number): void {
  if (Number.isNaN(value)) return;
  const before = values[slot] as number;
  values[slot] = (Number.isNaN(before) ? 0 : before) + value;
}
