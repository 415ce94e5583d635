import type { Logger } from 'pino';
import type { Observable, OperatorFunction } from 'rxjs';
import type { ZodType } from 'zod';
import type { Batch, Signal } from './batch.ts';
import type { Attributes, EventDefinition, MetricDefinition, Stability } from './catalogue.ts';
import type { Clock } from './clock.ts';
import type { QueueConfig } from './queue/config.ts';
import type { ServiceView } from './service-view.ts';

/** Subscribe = start, unsubscribe = stop: resources are taken in the subscribe function and freed in its teardown. */
export interface Receiver {
  run(): Observable<Batch>;
  /** Takes a new config in place on reload, kernel maps and subscription kept. True = taken; absent or false = it is replaced. */
  reconfigure?(config: unknown): boolean;
}

/** A processor never throws out of the stream and never mutates what it is given. */
export type Processor = OperatorFunction<Batch, Batch>;

/** Where data leaves the pipeline. */
export interface Exporter {
  /** Takes resources (listens, opens files). Absent = none. A rejection stops the agent's start with its message. */
  start?(): Promise<void>;
  /**
   * Resolves when the backend has the batch. Rejects with a {@link RetryableError} to be tried again by the queue, with anything
   * else to have the batch dropped and counted. May resolve with what the backend took the request for but did not keep.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: most exporters return nothing.
  push(batch: Batch, signal: AbortSignal): Promise<void | PushResult>;
  /** Frees what `start` took. Safe before `start` and twice. `signal` aborts at the shutdown deadline. */
  stop?(signal: AbortSignal): Promise<void>;
  /** Takes a new config in place on reload, listeners and state kept. True = taken; absent or false = it is replaced. */
  reconfigure?(config: unknown): boolean;
}

/** Outcome of a push that was not wholly taken (OTLP partial success, Loki's 400): these items are lost and not to be sent again. */
export interface PushResult {
  readonly rejected: number;
  /** `error.type` of the telemetry: `partial_success`, `400`. */
  readonly errorType: string;
}

/** Thrown by {@link Exporter.push}: the same batch may succeed later. */
export class RetryableError extends Error {
  /** What the backend asked for (Retry-After), milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** `error.type` of the telemetry: an HTTP status, a gRPC code, an errno. */
  readonly errorType: string;
  /** What is still to be sent, when part of the batch was delivered. Absent = all of it. */
  readonly remaining: Batch | undefined;
  /** Items of the delivered part that the backend refused for good. */
  readonly rejected: PushResult | undefined;
  constructor(
    message: string,
    options: { errorType: string; retryAfterMs?: number; remaining?: Batch; rejected?: PushResult; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RetryableError';
    this.errorType = options.errorType;
    this.retryAfterMs = options.retryAfterMs;
    this.remaining = options.remaining;
    this.rejected = options.rejected;
  }
}

/**
 * What a component tells about itself. Counting and logging are one call, so that neither can be forgotten.
 * Reasons are closed sets of short snake_case words: they become attribute values.
 */
export interface ComponentTelemetry {
  /** One bad item from outside (a line, a record, an answer) was not used. */
  rejected(reason: string, n?: number): void;
  /** Items were dropped on purpose or for want of room. */
  dropped(reason: string, n?: number, signal?: Signal): void;
  /** This host lacks `what`. Logged once at debug, shown by doctor and on the health page; called again it is a no-op. */
  absent(what: string, reason: string): void;
  /** `what` failed this round. Counted; logged at a limited rate. */
  failed(what: string, error: unknown): void;
  /** `what` works again after `failed`. */
  recovered(what: string): void;
  /** A counter of the component's own, `otelcol_<kind>_<name>{<kind>="<id>"}` (`otelcol_exporter_sent_log_records{exporter="otlp"}`); hold on to it. `add` costs a field increment when `attributes` is omitted. */
  counter(name: string, unit: string, description: string): { add(n: number, attributes?: Attributes): void };
  /** A gauge read when the agent's own metrics are scraped. */
  gauge(name: string, unit: string, description: string, read: () => number | Iterable<[number, Attributes]>): void;
}

/** What every component is given. */
export interface ComponentContext {
  /** Instance id as written in the config: `procfs`, `otlp/backup`. */
  readonly id: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly telemetry: ComponentTelemetry;
  readonly node: NodeIdentity;
  /** The whole running pipeline, to be looked at. */
  readonly service: ServiceView;
  /** Version of the agent. */
  readonly version: string;
}

export interface ReceiverContext extends ComponentContext {
  /** True while an exporter's queue is above its high-water mark: receivers that can pause, do. Hot, replays the last value. */
  readonly pressure$: Observable<boolean>;
}

export interface NodeIdentity {
  /** `k8s.node.name`: `service.node_name`, else NODE_NAME, else the host name. */
  readonly name: string;
}

export type ComponentKind = 'receiver' | 'processor' | 'exporter';

interface Declaration<C> {
  /** Folder name = config key = telemetry name. */
  readonly type: string;
  /** The question it answers, one sentence. */
  readonly summary: string;
  readonly stability: Stability;
  /** zod schema (strictObject): every key with default and `.describe()`. An empty section gives the defaults. */
  readonly config: ZodType<C, unknown>;
  /** Cross-field rules and rules about the running host that need no I/O. Each problem names its path below this component. */
  readonly check?: (config: C) => readonly { path: readonly (string | number)[]; message: string }[];
  readonly metrics?: readonly MetricDefinition[];
  readonly events?: readonly EventDefinition[];
  /**
   * What this component finds on this machine, for `skoopline doctor`: may take `options.seconds` to measure, changes nothing that outlives it,
   * never rejects for what is merely absent.
   */
  readonly diagnose?: (config: C, context: ComponentContext, options: DiagnoseOptions) => Promise<readonly Finding[]>;
}

export interface DiagnoseOptions {
  /** How long to measure what can only be seen at work. */
  readonly seconds: number;
}

/** One line of `skoopline doctor`. */
export interface Finding {
  /** What was looked at: `kernel`, `probe packetloss`. */
  readonly subject: string;
  readonly status: 'ok' | 'partial' | 'off';
  /** One readable line. */
  readonly text: string;
  /** Further lines: why not better, what to do. */
  readonly notes?: readonly string[];
  /** The same and more as data, for `--json`. */
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface ReceiverDeclaration<C = unknown> extends Declaration<C> {
  readonly kind: 'receiver';
  /** What it can emit. */
  readonly signals: readonly Signal[];
  /** Makes an instance. No I/O. */
  create(config: C, context: ReceiverContext): Receiver;
}

export interface ProcessorDeclaration<C = unknown> extends Declaration<C> {
  readonly kind: 'processor';
  create(config: C, context: ComponentContext): Processor;
}

export interface ExporterDeclaration<C = unknown> extends Declaration<C> {
  readonly kind: 'exporter';
  /** What it takes; other batches are not given to it. */
  readonly signals: readonly Signal[];
  /** The queue its section asks for (see `queueFields`); absent = a small queue in memory. */
  readonly queue?: (config: C) => QueueConfig;
  create(config: C, context: ComponentContext): Exporter;
}

export type ComponentDeclaration = ReceiverDeclaration | ProcessorDeclaration | ExporterDeclaration;

/** Declares a receiver; `index.ts` of its folder exports the result as default. */
export function defineReceiver<C>(d: Omit<ReceiverDeclaration<C>, 'kind'>): ReceiverDeclaration {
  return { ...d, kind: 'receiver' } as ReceiverDeclaration<C> as ReceiverDeclaration;
}
/** Declares a processor; see {@link defineReceiver}. */
export function defineProcessor<C>(d: Omit<ProcessorDeclaration<C>, 'kind'>): ProcessorDeclaration {
  return { ...d, kind: 'processor' } as ProcessorDeclaration<C> as ProcessorDeclaration;
}
/** Declares an exporter; see {@link defineReceiver}. */
export function defineExporter<C>(d: Omit<ExporterDeclaration<C>, 'kind'>): ExporterDeclaration {
  return { ...d, kind: 'exporter' } as ExporterDeclaration<C> as ExporterDeclaration;
}

type Lazy<T> = () => Promise<{ readonly default: T }>;

/** The components there are, by kind and type; loaded only when a pipeline names them. `components.ts` holds the real one. */
export interface ComponentRegistry {
  readonly receivers: Readonly<Record<string, Lazy<ReceiverDeclaration>>>;
  readonly processors: Readonly<Record<string, Lazy<ProcessorDeclaration>>>;
  readonly exporters: Readonly<Record<string, Lazy<ExporterDeclaration>>>;
}
