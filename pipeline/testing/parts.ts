import { Observable, Subject } from 'rxjs';
import { z } from 'zod';
import { type Batch, type Entity, type LogRecord, makeSchema, noResource } from '../batch.ts';
import { defineMetrics } from '../catalogue.ts';
import {
  type ComponentRegistry,
  defineExporter,
  defineProcessor,
  defineReceiver,
  type Exporter,
  type Processor,
  type Receiver,
  type ReceiverContext,
} from '../component.ts';
import { queueFields } from '../queue/config.ts';

/** Components whose every step a test decides and sees. */

/** What happened, in order: `create receiver a`, `subscribe a`, ... */
export type Events = string[];

export interface Parts {
  readonly registry: ComponentRegistry;
  readonly events: Events;
  /** Emits from the running receiver of this id. */
  emit(id: string, batch: Batch): void;
  /** Makes the running receiver of this id fail. */
  fail(id: string, error: Error): void;
  /** Everything the exporter of this id was given. */
  pushed(id: string): Batch[];
  /** Contexts of receivers by id, the latest. */
  readonly contexts: Map<string, ReceiverContext>;
  /** Overrides: what a receiver does when subscribed, what a processor is, how an exporter behaves. */
  readonly receivers: Map<string, () => Receiver>;
  readonly processors: Map<string, () => Processor>;
  readonly exporters: Map<string, (config: { mark: string }) => Exporter>;
}

const anything = z.strictObject({
  mark: z.string().default('').describe('Any text: makes one config differ from another.'),
  queue_size: z.number().int().positive().default(100_000).describe('Items an exporter queues.'),
  directory: z.string().optional().describe('Queue on disk, there.'),
  in_place: z.boolean().default(false).describe('Takes a new config in place.'),
});

export function makeParts(): Parts {
  const events: Events = [];
  const running = new Map<string, Subject<Batch>>();
  const taken = new Map<string, Batch[]>();
  const contexts = new Map<string, ReceiverContext>();
  const receivers: Parts['receivers'] = new Map();
  const processors: Parts['processors'] = new Map();
  const exporters: Parts['exporters'] = new Map();

  const source = defineReceiver({
    type: 'source',
    summary: 'Emits what a test says.',
    stability: 'development',
    signals: ['metrics', 'logs', 'entities'],
    config: anything,
    create: (config, context) => {
      events.push(`create receiver ${context.id}`);
      contexts.set(context.id, context);
      const own = receivers.get(context.id);
      if (own) return own();
      return {
        run: () =>
          new Observable((subscriber) => {
            events.push(`subscribe ${context.id}`);
            const input = new Subject<Batch>();
            running.set(context.id, input);
            input.subscribe(subscriber);
            return () => events.push(`unsubscribe ${context.id}`);
          }),
        ...(config.in_place ? { reconfigure: () => events.push(`reconfigure ${context.id}`) > 0 } : {}),
      };
    },
  });

  const stage = defineProcessor({
    type: 'stage',
    summary: 'Passes on, or does what a test says.',
    stability: 'development',
    config: anything,
    create: (_config, context) => {
      events.push(`create processor ${context.id}`);
      return processors.get(context.id)?.() ?? ((stream$) => stream$);
    },
  });

  const sink = defineExporter({
    type: 'sink',
    summary: 'Keeps what it gets.',
    stability: 'development',
    signals: ['metrics', 'logs'],
    config: anything,
    queue: ({ queue_size, directory }) =>
      z
        .object(queueFields)
        .parse({ sending_queue: { queue_size, ...(directory ? { storage: 'disk', directory } : {}) } }),
    create: (config, context) => {
      events.push(`create exporter ${context.id}`);
      const got: Batch[] = taken.get(context.id) ?? [];
      taken.set(context.id, got);
      const own = exporters.get(context.id)?.(config);
      return {
        start: async () => {
          events.push(`start ${context.id}${config.mark}`);
          await own?.start?.();
        },
        push: async (batch, signal) => {
          if (own) await own.push(batch, signal);
          got.push(batch);
        },
        stop: async (signal) => {
          events.push(`stop ${context.id}${config.mark}`);
          await own?.stop?.(signal);
        },
        ...(config.in_place ? { reconfigure: () => events.push(`reconfigure ${context.id}`) > 0 } : {}),
      };
    },
  });
  const entitySink = defineExporter({
    ...sink,
    type: 'entity_sink',
    signals: ['entities'],
    config: anything,
    create: (config, context) =>
      (sink.create as unknown as (c: typeof config, x: typeof context) => Exporter)(config, context),
  });

  const lazy =
    <T>(value: T) =>
    async () => ({ default: value });
  return {
    registry: {
      receivers: { source: lazy(source) },
      processors: { stage: lazy(stage) },
      exporters: { sink: lazy(sink), entity_sink: lazy(entitySink) },
    },
    events,
    emit: (id, batch) => running.get(id)!.next(batch),
    fail: (id, error) => running.get(id)!.error(error),
    pushed: (id) => taken.get(id) ?? [],
    contexts,
    receivers,
    processors,
    exporters,
  };
}

const metrics = defineMetrics({
  'skoop.test.things': {
    instrument: 'counter',
    unit: '{thing}',
    description: 'Things.',
    source: 'test',
    scope: 'node',
  },
});
const scope = { name: 'test' };

/** A batch of `n` data points. */
export function points(n: number, source = 'test/points'): Batch {
  const things = metrics['skoop.test.things'];
  const schema = makeSchema(Array.from({ length: n }, (_, i) => ({ metric: things, attributes: { i } })));
  const values = new Float64Array(n).fill(1);
  const snapshot = { owner: undefined, resource: noResource, startTimeMs: 0, timeMs: 1, schema, values };
  return { kind: 'metrics', source, scope, snapshots: [snapshot] };
}

/** A batch of `n` log records. */
export function records(n: number, source = 'test/records'): Batch {
  const record: LogRecord = {
    timeUnixNs: 1n,
    observedTimeUnixNs: 2n,
    severityNumber: 9,
    eventName: 'skoop.test',
    body: 'Test.',
    attributes: {},
    owner: undefined,
    resource: noResource,
  };
  return { kind: 'logs', source, scope, records: Array.from({ length: n }, () => record) };
}

/** A batch of `n` entities. */
export function entities(n: number, source = 'test/entities'): Batch {
  const all = Array.from(
    { length: n },
    (_, i): Entity => ({
      kind: 'netns',
      netns: 4026531840 + i,
      host: i === 0,
      podUids: [],
      containerIds: [],
      firstSeenMs: 0,
    }),
  );
  return { kind: 'entities', source, timeMs: 1, entities: all };
}
