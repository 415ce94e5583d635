import type { Logger } from 'pino';
import { z } from 'zod';
import type { Kernel } from '../../bpf/kernel.ts';
import type { HookSpec, LoadedProbe, LoadOptions } from '../../bpf/loader.ts';
import type { Codec, View } from '../../bpf/record.ts';
import type { SeverityNumber } from '../../pipeline/batch.ts';
import type { Attributes, EventDefinition, MetricDefinition, Stability } from '../../pipeline/catalogue.ts';
import type { Clock } from '../../pipeline/clock.ts';
import type { ComponentTelemetry } from '../../pipeline/component.ts';
import type { Collection } from './collection.ts';

/** Keys every probe's section has. */
export interface ProbeConfig {
  readonly enabled: boolean;
  readonly events: boolean;
  readonly rate_limit: number;
  readonly burst: number;
}

interface ProbeFieldDefaults {
  readonly enabled?: boolean;
  readonly events?: boolean;
  readonly rate?: number;
  readonly burst?: number;
}

/** The common keys, to be spread into a probe's strictObject. */
export function probeFields(defaults: ProbeFieldDefaults = {}) {
  return {
    enabled: z
      .boolean()
      .default(defaults.enabled ?? true)
      .describe('Load this probe.'),
    events: z
      .boolean()
      .default(defaults.events ?? true)
      .describe('Send events; metrics are counted either way.'),
    rate_limit: z
      .number()
      .nonnegative()
      .default(defaults.rate ?? 100)
      .describe('Events a second for each network namespace and type; 0 = no limit. What is above is counted.'),
    burst: z
      .number()
      .int()
      .positive()
      .default(defaults.burst ?? 1000)
      .describe('Events that may come at once before the limit holds.'),
  };
}

/** The head of each record: struct skl_head. */
export interface RecordHead {
  /** CLOCK_MONOTONIC, ns. */
  readonly ktime: number;
  /** Of the network namespace; never used twice. */
  readonly cookie: number;
  /** cgroup v2 id; 0 = not known. */
  readonly cgroup: number;
  readonly netns: number;
  readonly type: number;
}

/** An event as the probe sees it; the receiver adds time, owner, resource and advice. */
export interface EventDraft {
  readonly event: EventDefinition;
  readonly severity: SeverityNumber;
  /** One readable sentence. */
  readonly body: string;
  readonly attributes: Attributes;
  /** The histogram in which the kernel counted this event's `skoop.latency`, unit `s`: the slowest event becomes its exemplar. */
  readonly measuredBy?: MetricDefinition;
}

export interface ProbeContext {
  /** Name of the probe. */
  readonly name: string;
  readonly kernel: Kernel;
  readonly telemetry: ComponentTelemetry;
  readonly log: Logger;
  readonly clock: Clock;
}

/** A probe at work. All of it runs on one thread, between `create` and the closing of what was loaded. */
export interface ProbeRun {
  /** Values for the C file's knobs, sizes of its maps. */
  readonly load?: Pick<LoadOptions, 'knobs' | 'mapEntries'>;
  /** Once, after loading and before the first event: attach what is attached by hand, fill maps. May throw: the probe is then off. */
  loaded?(loaded: LoadedProbe): void;
  /**
   * Turns one record into an event, or undefined when there is nothing to tell. `length` is at least the size of the smallest codec in
   * {@link ProbeDefinition.records}. The view is valid during the call only.
   */
  decode?(view: View, at: number, length: number, head: RecordHead): EventDraft | undefined;
  /** Once an interval: reads maps into metrics. */
  collect?(out: Collection): void;
  /** Frees what the probe took itself. */
  close?(): void;
}

/** What the generated file of each object exports, as far as the framework reads it. */
export interface ProbeLayout {
  readonly layoutHash: string;
  readonly sklHead: Codec<RecordHead>;
  readonly sklLimitKey: Codec<{
    readonly owner: { readonly cookie: number; readonly netns: number };
    readonly type: number;
  }>;
  readonly sklLimitVal: Codec<{ readonly emitted: number; readonly suppressed: number; readonly lost: number }>;
}

/** One probe: its kernel half is `bpf/<name>.bpf.c`, this is the other one. */
export interface ProbeDefinition<C extends ProbeConfig = ProbeConfig> {
  /** Config key, name of the object file, part of `source`. KubeSkoop's name where it has one. */
  readonly name: string;
  /** Other spellings that the config accepts. */
  readonly aliases?: readonly string[];
  /** The question it answers, one sentence. */
  readonly summary: string;
  readonly stability: Stability;
  /** The generated module: `import * as layout from '../../bpf/gen/<name>.gen.ts'`. */
  readonly layout: ProbeLayout;
  readonly hooks: readonly HookSpec[];
  readonly config: z.ZodType<C, unknown>;
  readonly metrics: readonly MetricDefinition[];
  readonly events: readonly EventDefinition[];
  /** Names of `skl_head.type` 0, 1, …: attribute `skoop.event.type` of the account of events. */
  readonly eventTypes: readonly string[];
  /** Codec of the smallest record of each type, by type: shorter ones are rejected and counted. */
  readonly records: readonly Codec<unknown>[];
  /** Maps with owners in their keys that the kernel half empties by itself, with an account: not to be touched when a namespace ends. */
  readonly selfClearingMaps?: readonly string[];
  /** Makes it ready for loading. No BPF yet; the kernel's types may be asked. */
  create(config: C, context: ProbeContext): ProbeRun;
}

/** Declares a probe. */
export function defineProbe<C extends ProbeConfig>(definition: ProbeDefinition<C>): ProbeDefinition {
  return definition as unknown as ProbeDefinition;
}
