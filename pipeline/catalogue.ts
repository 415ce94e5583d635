/**
 * The catalogue: every metric and event is declared once, and everything else about it (Prometheus names, KubeSkoop names,
 * README tables, dashboards) is derived from that declaration.
 */

/** What a value of an attribute may be, as in the OpenTelemetry common data model. */
export type AttributeValue = string | number | boolean | readonly string[];
/** A flat attribute set. Frozen once it is on a batch. */
export type Attributes = Readonly<Record<string, AttributeValue>>;

/**
 * OpenTelemetry instrument kinds.
 * `counter`: monotonic cumulative sum. `updowncounter`: cumulative sum that may fall. `gauge`: last value.
 * `histogram`: base-2 exponential histogram, cumulative.
 */
export type Instrument = 'counter' | 'updowncounter' | 'gauge' | 'histogram';

export type Stability = 'development' | 'alpha' | 'beta' | 'stable';

/**
 * Shape of an exponential histogram (OpenTelemetry data model, "ExponentialHistogram"): bucket `i` of `buckets` counts
 * values in (base^(offset+i), base^(offset+i+1)] with base = 2^(2^-scale).
 *
 * In a snapshot it occupies `3 + buckets` slots: count, sum, zeroCount, bucket 0 … bucket n-1 (not cumulative over buckets).
 */
export interface HistogramLayout {
  readonly scale: number;
  readonly offset: number;
  readonly buckets: number;
}

/** How one metric appears under `naming: kubeskoop`. One OpenTelemetry metric may feed several KubeSkoop names. */
export interface KubeskoopName {
  /** Full name, e.g. `kubeskoop_netdev_rxbytes`. */
  readonly name: string;
  /** Only series whose attributes have these values; the others do not feed this name. */
  readonly where?: Attributes;
  /** Not series with one of these values: KubeSkoop's netdev sums leave `lo` out. */
  readonly except?: Attributes;
  /** Only what belongs to the node itself (its own network namespace included) feeds this name; pods have no such series. */
  readonly nodeOnly?: boolean;
  /** Attribute key → KubeSkoop label. Attributes not named here are summed away. */
  readonly labels?: Readonly<Record<string, string>>;
  /** TYPE to print, where KubeSkoop's differs from the truth (it prints most counters as gauges). Default: the true one. */
  readonly type?: 'counter' | 'gauge';
  /** Multiplies the value (bytes → pages and so on). Default 1. */
  readonly scale?: number;
  /** For histograms: the number of observations above this bound (in the metric's unit) is what is printed. */
  readonly above?: number;
}

export interface AttributeDefinition {
  readonly description: string;
  /** The closed set of values, where there is one. */
  readonly values?: readonly string[];
}

/** One metric: what mdatagen's metadata.yaml declares, as a typed object. */
export interface MetricDefinition {
  /** Dotted OpenTelemetry name without unit or `total`: `skoop.tcp.retransmits`. */
  readonly name: string;
  readonly instrument: Instrument;
  /** UCUM unit: `s`, `By`, `{packet}`, `1`. */
  readonly unit: string;
  /** One sentence, capital letter, full stop. */
  readonly description: string;
  readonly attributes: Readonly<Record<string, AttributeDefinition>>;
  /** Where the number comes from: `/proc/<pid>/net/snmp Tcp RetransSegs`, `tp_btf/kfree_skb`. */
  readonly source: string;
  /** Whose number it is: one per network namespace, per pod cgroup, or one for the whole node. */
  readonly scope: 'netns' | 'pod' | 'node';
  /** Worst case of series per owner (netns, pod or node). */
  readonly maxSeries: number;
  /** Exported unless switched off. False for what is redundant, costly or high-cardinality. */
  readonly enabled: boolean;
  readonly stability: Stability;
  readonly histogram?: HistogramLayout;
  readonly kubeskoop?: readonly KubeskoopName[];
}

type MetricInput = Omit<MetricDefinition, 'name' | 'attributes' | 'enabled' | 'stability' | 'maxSeries'> &
  Partial<Pick<MetricDefinition, 'attributes' | 'enabled' | 'stability' | 'maxSeries'>>;

/**
 * Declares metrics by name.
 *
 * @returns the same object with defaults filled in (no attributes, enabled, beta, one series) and each entry knowing its name;
 *          keys stay literal types, so that a mistyped name does not compile.
 */
export function defineMetrics<const T extends Readonly<Record<string, MetricInput>>>(
  input: T,
): { readonly [K in keyof T]: MetricDefinition } {
  const out: Record<string, MetricDefinition> = {};
  for (const [name, m] of Object.entries(input)) {
    out[name] = Object.freeze({ attributes: {}, enabled: true, stability: 'beta', maxSeries: 1, ...m, name });
  }
  return out as { readonly [K in keyof T]: MetricDefinition };
}

/** One event: a log record with a static `eventName` and documented attributes. */
export interface EventDefinition {
  /** Static event name: `skoop.packet.dropped`. */
  readonly name: string;
  readonly description: string;
  /** Where it comes from: hook, file. */
  readonly source: string;
  readonly attributes: Readonly<Record<string, AttributeDefinition>>;
  /** Values that `kubeskoop.type` takes on this event. */
  readonly kubeskoopTypes?: readonly string[];
  readonly stability: Stability;
}

type EventInput = Omit<EventDefinition, 'name' | 'stability'> & Partial<Pick<EventDefinition, 'stability'>>;

/** Declares events by name; the twin of {@link defineMetrics}. */
export function defineEvents<const T extends Readonly<Record<string, EventInput>>>(
  input: T,
): { readonly [K in keyof T]: EventDefinition } {
  const out: Record<string, EventDefinition> = {};
  for (const [name, e] of Object.entries(input)) out[name] = Object.freeze({ stability: 'beta', ...e, name });
  return out as { readonly [K in keyof T]: EventDefinition };
}
