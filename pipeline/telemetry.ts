import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { Logger } from 'pino';
import type { Attributes } from './catalogue.ts';
import type { Clock } from './clock.ts';
import type { ComponentKind, NodeIdentity } from './component.ts';
import { messageOf } from './errors.ts';
import { type Cell, Cells, type GaugeRead, type Reading } from './telemetry/cells.ts';
import { EngineTelemetry } from './telemetry/component.ts';
import { observeProcess } from './telemetry/process.ts';
import type { Sdk } from './telemetry/sdk.ts';

/** What the process tells about itself: nothing, the cheap things, garbage collection and heap too. */
export type ProcessLevel = 'none' | 'normal' | 'detailed';

export interface TelemetryOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  readonly node: NodeIdentity;
}

/**
 * The agent's own metrics. Components and the engine count in plain fields ({@link Cells}); when the metrics are scraped, a
 * MetricProducer hands them to the OpenTelemetry SDK, whose Prometheus serializer prints them. See docs/adr/0003.
 */
export class AgentTelemetry {
  readonly cells = new Cells();
  readonly #options: TelemetryOptions;
  readonly #startMs: number;
  #sdk: Promise<Sdk> | undefined;
  #process: { readonly level: ProcessLevel; readonly stop: () => void } | undefined;

  constructor(options: TelemetryOptions) {
    this.#options = options;
    this.#startMs = options.clock.nowMs();
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
    const meters = async () => (await this.#loadSdk()).meters;
    const options = { cells: this.cells, clock, meters, detailed: level === 'detailed' };
    this.#process = { level, stop: level === 'none' ? () => {} : observeProcess(options) };
  }

  /** Every number as it is now. */
  read(): Reading[] {
    return this.cells.read();
  }

  /** Prometheus text format 0.0.4. */
  async text(): Promise<string> {
    const sdk = await this.#loadSdk();
    const { text, errors } = await sdk.text();
    for (const error of errors) this.#options.log.warn({ error: messageOf(error) }, 'Own metrics are incomplete.');
    return text;
  }

  async stop(): Promise<void> {
    this.observeProcess('none');
    await (await this.#sdk)?.meters.shutdown();
  }

  /** Loaded when the metrics are first looked at: it is 16 MB that an agent nobody scrapes need not hold. */
  #loadSdk(): Promise<Sdk> {
    const { clock, log, version, node } = this.#options;
    const read = () => this.cells.read((name, error) => log.warn({ name, error: messageOf(error) }, 'A gauge failed.'));
    this.#sdk ??= import('./telemetry/sdk.ts').then(({ makeSdk }) =>
      makeSdk({ read, clock, startMs: this.#startMs, version, node: node.name }),
    );
    return this.#sdk;
  }
}

function ownerKey(kind: ComponentKind, id: string, attributes: Attributes): string {
  return `${kind} ${id} ${JSON.stringify(attributes)}`;
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
