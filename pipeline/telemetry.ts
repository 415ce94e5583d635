import { DiagLogLevel, diag, type HrTime, ValueType } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  MeterProvider,
  type MetricData,
  type MetricProducer,
  MetricReader,
} from '@opentelemetry/sdk-metrics';
import type { Logger } from 'pino';
import type { Attributes } from './catalogue.ts';
import type { Clock } from './clock.ts';
import type { ComponentKind, NodeIdentity } from './component.ts';
import { messageOf } from './errors.ts';
import { type Cell, Cells, type GaugeRead, type Reading } from './telemetry/cells.ts';
import { EngineTelemetry } from './telemetry/component.ts';
import { observeProcess } from './telemetry/process.ts';

/** What the process tells about itself: nothing, the cheap things, garbage collection and heap too. */
export type ProcessLevel = 'none' | 'normal' | 'detailed';

/**
 * The agent's own metrics. Components and the engine count in plain fields ({@link Cells}); when the metrics are scraped, a
 * MetricProducer hands them to the OpenTelemetry SDK, whose Prometheus serializer prints them. See docs/adr/0003.
 */
export class AgentTelemetry {
  readonly cells = new Cells();
  /** For libraries that bring OpenTelemetry instruments of their own. */
  readonly meters: MeterProvider;
  readonly #reader: PullReader;
  readonly #serializer = new PrometheusSerializer('', false, undefined, false, true);
  readonly #options: { readonly clock: Clock; readonly log: Logger };
  #process: { readonly level: ProcessLevel; readonly stop: () => void } | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly log: Logger;
    readonly version: string;
    readonly node: NodeIdentity;
  }) {
    this.#options = options;
    const startTime = hrTime(options.clock.nowMs());
    const read = () =>
      this.cells.read((name, error) => options.log.warn({ name, error: messageOf(error) }, 'A gauge failed.'));
    this.#reader = new PullReader({ metricProducers: [producer(read, options.clock, startTime, options.version)] });
    this.meters = new MeterProvider({
      readers: [this.#reader],
      resource: resourceFromAttributes({
        'service.name': 'skoopline',
        'service.version': options.version,
        'k8s.node.name': options.node.name,
      }),
    });
  }

  /** Telemetry of a component. `attributes` tell instances of one id apart: a processor has one in each pipeline. */
  component(kind: ComponentKind, id: string, attributes: Attributes = {}, log?: Logger): EngineTelemetry {
    const { clock } = this.#options;
    return new EngineTelemetry({
      kind,
      id,
      attributes: { [kind]: id, ...attributes },
      owner: ownerKey(kind, id, attributes),
      cells: this.cells,
      clock,
      log: log ?? this.#options.log.child({ [kind]: id, ...attributes }),
    });
  }

  /** Ends the series of a component that is gone. */
  forget(telemetry: EngineTelemetry): void {
    const { kind, id, attributes } = telemetry;
    const { [kind]: _, ...own } = attributes;
    this.cells.forget(ownerKey(kind, id, own));
  }

  /** A counter of the engine itself. */
  counter(name: string, unit: string, description: string, attributes: Attributes = {}): Cell {
    return this.cells.counter({ name, unit, description }, 'engine', attributes);
  }

  /** A gauge of the engine itself. */
  gauge(name: string, unit: string, description: string, read: GaugeRead): void {
    this.cells.gauge({ name, unit, description }, 'engine', {}, read);
  }

  /** Observes the process itself at a level; the same level again changes nothing. */
  observeProcess(level: ProcessLevel): void {
    if (this.#process?.level === level) return;
    this.#process?.stop();
    const { clock } = this.#options;
    const options = { cells: this.cells, clock, meters: this.meters, detailed: level === 'detailed' };
    this.#process = { level, stop: level === 'none' ? () => {} : observeProcess(options) };
  }

  /** Every number as it is now. */
  read(): Reading[] {
    return this.cells.read();
  }

  /** Prometheus text format 0.0.4. */
  async text(): Promise<string> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    for (const error of errors) this.#options.log.warn({ error: messageOf(error) }, 'Own metrics are incomplete.');
    return `${this.#serializer.serialize(resourceMetrics).trimEnd()}\n`;
  }

  async stop(): Promise<void> {
    this.observeProcess('none');
    await this.meters.shutdown();
  }
}

class PullReader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

function ownerKey(kind: ComponentKind, id: string, attributes: Attributes): string {
  return `${kind} ${id} ${JSON.stringify(attributes)}`;
}

function producer(read: () => Reading[], clock: Clock, startTime: HrTime, version: string): MetricProducer {
  const scope = { name: 'skoopline', version };
  const resource = resourceFromAttributes({});
  return {
    collect: async (): Promise<CollectionResult> => {
      const endTime = hrTime(clock.nowMs());
      const metrics = read().map((r) => metricData(r, startTime, endTime));
      return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics }] }, errors: [] };
    },
  };
}

function metricData(reading: Reading, startTime: HrTime, endTime: HrTime): MetricData {
  const { name, unit, description, kind } = reading;
  const shared = {
    descriptor: { name, unit, description, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints: reading.points.map(({ value, attributes }) => ({
      startTime,
      endTime,
      attributes: { ...attributes } as never,
      value,
    })),
  };
  return kind === 'counter'
    ? { ...shared, dataPointType: DataPointType.SUM, isMonotonic: true }
    : { ...shared, dataPointType: DataPointType.GAUGE };
}

function hrTime(ms: number): HrTime {
  return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
}

/** Sends what OpenTelemetry's own libraries have to say to the agent's log; without it they are silent. */
export function logDiagnostics(log: Logger): void {
  const to =
    (level: 'error' | 'warn' | 'info' | 'debug') =>
    (message: string, ...more: unknown[]) =>
      log[level]({ from: 'opentelemetry', ...(more.length > 0 ? { more: more.map(messageOf) } : {}) }, message);
  const quiet = { error: to('error'), warn: to('warn'), info: to('info'), debug: to('debug'), verbose: to('debug') };
  diag.setLogger(quiet, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
}
