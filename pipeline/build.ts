import type { Logger } from 'pino';
import type { Clock } from './clock.ts';
import type {
  ComponentContext,
  ExporterDeclaration,
  NodeIdentity,
  ProcessorDeclaration,
  ReceiverDeclaration,
} from './component.ts';
import type { ComponentConfig } from './config.ts';
import { AbsentError, AgentError, messageOf } from './errors.ts';
import type { ServiceView } from './service-view.ts';
import { type QueueFactory, Sink } from './sink.ts';
import { Pressure, Source } from './source.ts';
import { Stage } from './stage.ts';
import { type ComponentKey, type ComponentState, StateGate, type States } from './states.ts';
import type { EngineTelemetry } from './telemetry/component.ts';
import type { AgentTelemetry } from './telemetry.ts';

/** What the engine needs from outside. */
export interface EngineParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly telemetry: AgentTelemetry;
  readonly states: States;
  readonly createQueue: QueueFactory;
  readonly version: string;
}

/** What nodes are made with. */
export interface GraphParts extends EngineParts {
  readonly service: ServiceView;
}

/** A node of the graph with what shows it to the outside. */
export interface Built<T> {
  readonly node: T;
  readonly key: ComponentKey;
  readonly gate: StateGate;
  readonly telemetry: EngineTelemetry;
  /** Its own log: a child does not follow its parent's level. */
  readonly log: Logger;
}

/** Lets a node be seen: its state and its gauges. */
export function reveal({ gate, telemetry }: Built<unknown>): void {
  gate.open();
  telemetry.activate();
}

export function buildSource(component: ComponentConfig, node: NodeIdentity, parts: GraphParts): Built<Source> {
  const { telemetry, context } = contextOf(component, node, parts);
  const declaration = component.declaration as ReceiverDeclaration;
  const pressure = new Pressure();
  const made = create(component, () =>
    declaration.create(component.config, { ...context, pressure$: pressure.pressure$ }),
  );
  const built = shell({ kind: 'receiver', id: component.id }, made.absent, telemetry, context.log, parts);
  const { clock } = parts;
  const onState = (s: ComponentState) => built.gate.report(s);
  return { ...built, node: new Source({ component, receiver: made.value, telemetry, pressure, clock, onState }) };
}

export function buildStage(
  component: ComponentConfig,
  pipeline: string,
  node: NodeIdentity,
  parts: GraphParts,
): Built<Stage> {
  const { telemetry, context } = contextOf(component, node, parts, pipeline);
  const declaration = component.declaration as ProcessorDeclaration;
  const made = create(component, () => declaration.create(component.config, context));
  const built = shell({ kind: 'processor', id: component.id, pipeline }, made.absent, telemetry, context.log, parts);
  const { clock } = parts;
  const onState = (s: ComponentState) => built.gate.report(s);
  return { ...built, node: new Stage({ component, pipeline, processor: made.value, telemetry, clock, onState }) };
}

export function buildSink(component: ComponentConfig, node: NodeIdentity, parts: GraphParts): Built<Sink> {
  const { telemetry, context } = contextOf(component, node, parts);
  const declaration = component.declaration as ExporterDeclaration;
  const { value: exporter, absent } = create(component, () => declaration.create(component.config, context));
  // Data that has nowhere to go is no agent: an exporter that cannot work here stops the start.
  if (!exporter) throw cannotStart(component, new AbsentError(absent ?? ''));
  const built = shell({ kind: 'exporter', id: component.id }, undefined, telemetry, context.log, parts);
  const { createQueue } = parts;
  const onState = (s: ComponentState) => built.gate.report(s);
  return { ...built, node: new Sink({ component, exporter, context, telemetry, createQueue, onState }) };
}

/** One sentence about a component that keeps the agent from starting. */
export function cannotStart(component: ComponentConfig, cause: unknown): AgentError {
  const hint = cause instanceof AgentError && cause.hint !== undefined ? { hint: cause.hint } : {};
  const why = messageOf(cause);
  return new AgentError('E_START', `${component.kind} ${component.id} cannot start: ${why}`, {
    component: component.id,
    cause,
    ...hint,
  });
}

function contextOf(component: ComponentConfig, node: NodeIdentity, parts: GraphParts, pipeline?: string) {
  const { kind, id } = component;
  const attributes = pipeline === undefined ? {} : { pipeline };
  const log = parts.log.child({ [kind]: id, ...attributes });
  const telemetry = parts.telemetry.component(kind, id, attributes, log);
  const context: ComponentContext = {
    id,
    telemetry,
    node,
    service: parts.service,
    clock: parts.clock,
    version: parts.version,
    log,
  };
  return { telemetry, context };
}

function create<T>(component: ComponentConfig, make: () => T): { readonly value?: T; readonly absent?: string } {
  try {
    return { value: make() };
  } catch (error) {
    if (error instanceof AbsentError) return { absent: messageOf(error) };
    throw cannotStart(component, error);
  }
}

function shell(
  key: ComponentKey,
  absent: string | undefined,
  telemetry: EngineTelemetry,
  log: Logger,
  parts: GraphParts,
) {
  const first: ComponentState = absent === undefined ? { state: 'starting' } : { state: 'absent', reason: absent };
  return { key, telemetry, log, gate: new StateGate(parts.states, key, first) };
}
