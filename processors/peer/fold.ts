import {
  type MetricsBatch,
  makeSchema,
  type Owner,
  type Resource,
  type Schema,
  type SeriesDescriptor,
  type Snapshot,
  slotsOf,
  withSeries,
} from '../../pipeline/batch.ts';
import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import type { PeerConfig } from './config.ts';
import type { Directory } from './directory.ts';
import { hasAddresses } from './ends.ts';
import type { Namer } from './namer.ts';

/** What a folded batch is, and in data points what became what. */
export interface Outcome {
  readonly batch: MetricsBatch;
  /** Points that went into sums. */
  readonly merged: number;
  /** Sums that came out. */
  readonly made: number;
}

/** A series that comes out: a pair of workloads, or an address that has no name. */
interface Pair {
  readonly metric: MetricDefinition;
  readonly attributes: Attributes;
  value: number;
  /** Series that feed it now. */
  inputs: number;
  /** Monotonic ms of its last traffic. */
  activeMs: number;
}

/** A series that comes in. */
interface Input {
  readonly rest: Rest;
  /** What it feeds; undefined when there was no room: then it feeds the rest. */
  pair: Pair | undefined;
  /** By which names the pair was found, and what it is called; looked at again when they are others. */
  names: Attributes | undefined;
  pairKey: string;
  last: number;
  round: number;
}

/** The overflow series of a metric and direction: what came in as such, and what is not told apart here. */
interface Rest {
  readonly metric: MetricDefinition;
  readonly attributes: Attributes;
  /** What inputs that ended had counted: their source has moved it into its overflow, and the pairs have it still. */
  ended: number;
  /** What pairs that are gone, and inputs without a pair, had counted. */
  returned: number;
  /** The source's own overflow series. */
  incoming: number;
  outgoing: number;
}

/** What is done with a snapshot of a schema: by index of its series. */
interface Plan {
  readonly schema: Schema;
  readonly resource: Resource;
  readonly version: number;
  readonly inputs: readonly { readonly input: Input; readonly offset: number }[];
  readonly rests: readonly { readonly rest: Rest; readonly offset: number }[];
  readonly passing: readonly { readonly series: SeriesDescriptor; readonly attributes: Attributes }[];
}

/** One owner's state. */
interface State {
  readonly inputs: Map<string, Input>;
  readonly pairs: Map<string, Pair>;
  /** How many of them a metric has. */
  readonly taken: Map<MetricDefinition, number>;
  readonly rests: Map<string, Rest>;
  plan: Plan | undefined;
  /** Of the last snapshot; made anew when other series come out. */
  out: { readonly key: readonly object[]; readonly schema: Schema };
  round: number;
}

const direction = 'network.io.direction';
const overflow = 'otel.metric.overflow';
/** What a pair of workloads has not: it is many addresses and ports. */
const ofOneFlow: ReadonlySet<string> = new Set([
  'source.address',
  'source.port',
  'destination.address',
  'destination.port',
  'network.peer.address',
  'network.peer.port',
]);

/**
 * Sums counters by pair of workloads. What a series counted goes to the pair it belonged to when it counted it, so that no pair ever falls when an
 * address changes hands or a flow ends; all that comes out together is at any time what came in. See docs/adr/0072.
 */
export class Folder {
  readonly #config: PeerConfig;
  readonly #directory: Directory;
  readonly #namer: Namer;
  readonly #sources = new Map<string, Map<string, State>>();

  constructor(config: PeerConfig, directory: Directory, namer: Namer) {
    this.#config = config;
    this.#directory = directory;
    this.#namer = namer;
  }

  /** Pairs that are told apart now. */
  get pairs(): number {
    let n = 0;
    for (const states of this.#sources.values()) for (const s of states.values()) n += s.pairs.size;
    return n;
  }

  /** True when something of a source has been summed: it must see its next batch, whatever is in it. */
  knows(source: string): boolean {
    return this.#sources.has(source);
  }

  /** @param nowMs monotonic. */
  fold(batch: MetricsBatch, nowMs: number): Outcome {
    const before = this.#sources.get(batch.source);
    const states = new Map<string, State>();
    let merged = 0;
    let made = 0;
    const snapshots = batch.snapshots.map((snapshot, i) => {
      const key = ownerKey(snapshot.owner, states.has(ownerKey(snapshot.owner, 0)) ? i : 0);
      let state = before?.get(key);
      if (state === undefined && !snapshot.schema.series.some(isFoldable)) return this.#namer.name(snapshot);
      state ??= newState();
      states.set(key, state);
      const outcome = this.#snapshot(state, snapshot, nowMs);
      merged += outcome.merged;
      made += outcome.made;
      return outcome.snapshot;
    });
    if (states.size > 0) this.#sources.set(batch.source, states);
    else this.#sources.delete(batch.source);
    return { batch: Object.freeze({ ...batch, snapshots: Object.freeze(snapshots) }), merged, made };
  }

  #snapshot(state: State, snapshot: Snapshot, nowMs: number) {
    const { schema, resource, values } = snapshot;
    let { plan } = state;
    if (plan?.schema !== schema || plan.resource !== resource || plan.version !== this.#directory.version) {
      plan = this.#plan(state, snapshot, nowMs);
      state.plan = plan;
    }
    let merged = 0;
    for (const { input, offset } of plan.inputs) {
      const value = values[offset]!;
      if (Number.isNaN(value)) continue;
      merged++;
      count(input, value, nowMs);
    }
    for (const rest of state.rests.values()) rest.incoming = 0;
    for (const { rest, offset } of plan.rests) {
      const value = values[offset]!;
      if (Number.isNaN(value)) continue;
      merged++;
      rest.incoming += value;
    }
    this.#retire(state, nowMs);
    return { ...this.#result(state, plan, snapshot), merged };
  }

  /** Says what each series of a schema is, and notes which ended. */
  #plan(state: State, snapshot: Snapshot, nowMs: number): Plan {
    const { schema, resource, timeMs } = snapshot;
    state.round++;
    const inputs: { input: Input; offset: number }[] = [];
    const rests: { rest: Rest; offset: number }[] = [];
    const passing: { series: SeriesDescriptor; attributes: Attributes }[] = [];
    for (const pair of state.pairs.values()) pair.inputs = 0;
    for (const series of schema.series) {
      if (isFoldable(series))
        inputs.push({ input: this.#input(state, series, snapshot, nowMs), offset: series.offset });
      else if (isOverflow(series)) rests.push({ rest: restOf(state, series), offset: series.offset });
      else {
        const names = this.#namer.ofSeries(series, resource, timeMs);
        passing.push({
          series,
          attributes: names === undefined ? series.attributes : this.#namer.join(series.attributes, names),
        });
      }
    }
    for (const [key, input] of state.inputs) {
      if (input.round === state.round) continue;
      state.inputs.delete(key);
      end(input);
    }
    return { schema, resource, version: this.#directory.version, inputs, rests, passing };
  }

  #input(state: State, series: SeriesDescriptor, { resource, timeMs }: Snapshot, nowMs: number): Input {
    const key = `${series.metric.name}${attributesKey(series.attributes)}`;
    let input = state.inputs.get(key);
    if (input === undefined) {
      input = { rest: restOf(state, series), pair: undefined, names: undefined, pairKey: key, last: 0, round: 0 };
      state.inputs.set(key, input);
    }
    input.round = state.round;
    const ends = this.#namer.endsOf(series, resource);
    const names = this.#namer.ofPair(ends, resource, timeMs);
    if (input.names !== names) {
      input.names = names;
      input.pairKey = names === undefined ? key : pairKey(series, names);
      input.pair = undefined;
    }
    input.pair ??= this.#pair(state, series, input, nowMs);
    if (input.pair !== undefined) input.pair.inputs++;
    return input;
  }

  /** The pair of a series, where there is one or room for it. One without names is its own. */
  #pair(state: State, series: SeriesDescriptor, { pairKey: key, names }: Input, nowMs: number): Pair | undefined {
    const known = state.pairs.get(key);
    if (known !== undefined) return known;
    const { metric } = series;
    const taken = state.taken.get(metric) ?? 0;
    if (taken >= this.#config.max_pairs) return undefined;
    const attributes =
      names === undefined ? series.attributes : Object.freeze({ ...common(series.attributes), ...names });
    const pair = { metric, attributes, value: 0, inputs: 0, activeMs: nowMs };
    state.pairs.set(key, pair);
    state.taken.set(metric, taken + 1);
    return pair;
  }

  /** Pairs without a series go after a while, or at once when there is no room for others. */
  #retire(state: State, nowMs: number): void {
    for (const [key, pair] of state.pairs) {
      if (pair.inputs > 0) continue;
      const taken = state.taken.get(pair.metric)!;
      if (taken < this.#config.max_pairs && nowMs - pair.activeMs < this.#config.idle) continue;
      state.pairs.delete(key);
      state.taken.set(pair.metric, taken - 1);
      restOf(state, pair).returned += pair.value;
    }
  }

  #result(state: State, { passing }: Plan, snapshot: Snapshot): { snapshot: Snapshot; made: number } {
    const rests = [...state.rests.values()].filter(settle);
    const sums = [...state.pairs.values(), ...rests];
    const key = [...passing.map((p) => p.attributes), ...sums];
    if (key.length !== state.out.key.length || key.some((k, i) => k !== state.out.key[i])) {
      const series = [...passing.map((p) => ({ metric: p.series.metric, attributes: p.attributes })), ...sums];
      state.out = { key, schema: makeSchema(series) };
    }
    const { schema } = state.out;
    const values = new Float64Array(schema.slots);
    passing.forEach(({ series }, i) => {
      const from = series.offset;
      values.set(snapshot.values.subarray(from, from + slotsOf(series.metric)), schema.series[i]!.offset);
    });
    sums.forEach((sum, i) => {
      values[schema.series[passing.length + i]!.offset] = 'value' in sum ? sum.value : sum.outgoing;
    });
    const moved = (offset: number) => schema.series[passing.findIndex((p) => p.series.offset === offset)]?.offset;
    return { snapshot: withSeries(snapshot, schema, values, moved), made: sums.length };
  }
}

function newState(): State {
  const out = { key: [], schema: makeSchema([]) };
  return { inputs: new Map(), pairs: new Map(), taken: new Map(), rests: new Map(), plan: undefined, out, round: 0 };
}

/** A counter with two ends can be summed; one without is not about a peer. */
function isFoldable({ metric, attributes }: SeriesDescriptor): boolean {
  return metric.instrument === 'counter' && hasAddresses(attributes);
}

function isOverflow({ metric, attributes }: SeriesDescriptor): boolean {
  return metric.instrument === 'counter' && attributes[overflow] === true && hasAddresses(metric.attributes);
}

/** Adds what came since the last time. A counter that fell had ended and begun anew in between. */
function count(input: Input, value: number, nowMs: number): void {
  if (value < input.last) end(input);
  const more = value - input.last;
  input.last = value;
  if (more === 0) return;
  if (input.pair === undefined) input.rest.returned += more;
  else {
    input.pair.value += more;
    input.pair.activeMs = nowMs;
  }
}

function end(input: Input): void {
  input.rest.ended += input.last;
  input.last = 0;
}

function restOf(state: State, { metric, attributes }: Pick<SeriesDescriptor, 'metric' | 'attributes'>): Rest {
  const way = attributes[direction];
  const key = `${metric.name} ${way}`;
  let rest = state.rests.get(key);
  if (rest === undefined) {
    const own = Object.freeze({ ...(way !== undefined && { [direction]: way }), [overflow]: true });
    rest = { metric, attributes: own, ended: 0, returned: 0, incoming: 0, outgoing: Number.NaN };
    state.rests.set(key, rest);
  }
  return rest;
}

/** Computes what comes out. False when there is nothing to show: neither the source nor we ever had any. */
function settle(rest: Rest): boolean {
  const before = Number.isNaN(rest.outgoing) ? 0 : rest.outgoing;
  const sum = rest.incoming + rest.returned - rest.ended;
  // A source that forgets what ended, rather than moving it: the pairs have it still, and what was counted once stays counted.
  if (sum < before) rest.ended -= before - sum;
  const next = Math.max(sum, before);
  if (next === 0 && Number.isNaN(rest.outgoing) && rest.incoming === 0) return false;
  rest.outgoing = next;
  return true;
}

/** What a pair of workloads keeps of its flows. */
function common(attributes: Attributes): Record<string, Attributes[string]> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !ofOneFlow.has(name)));
}

function pairKey({ metric, attributes }: SeriesDescriptor, names: Attributes): string {
  return `${metric.name}${attributesKey(common(attributes))}${keyOfNames(names)}`;
}

const nameKeys = new WeakMap<Attributes, string>();

/** Names are one object for all flows of a pair: their text is made once. */
function keyOfNames(names: Attributes): string {
  let key = nameKeys.get(names);
  if (key === undefined) {
    key = attributesKey(names);
    nameKeys.set(names, key);
  }
  return key;
}

/** Text of an attribute set in the order it has: series of one source are made by one piece of code. */
function attributesKey(attributes: Attributes): string {
  let key = '';
  for (const name in attributes) key += `\0${name}\0${attributes[name]}`;
  return key;
}

function ownerKey(owner: Owner | undefined, occurrence: number): string {
  const { netns, netnsCookie, podUid, containerId, cgroupId } = owner ?? {};
  return `${netns}/${netnsCookie}/${podUid}/${containerId}/${cgroupId}/${occurrence}`;
}
