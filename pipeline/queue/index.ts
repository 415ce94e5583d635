import { BehaviorSubject } from 'rxjs';
import type { ComponentContext, Exporter } from '../component.ts';
import { AgentError } from '../errors.ts';
import type { QueueConfig } from './config.ts';
import { DiskStore } from './disk.ts';
import { memoryStore } from './memory.ts';
import { Queue } from './queue.ts';
import type { Store } from './store.ts';
import type { DeliveryQueue } from './types.ts';

export type { Accounts, DropReason } from './accounts.ts';
export type { DeliveryQueue } from './types.ts';

/**
 * Makes the buffer in front of one exporter. It neither starts nor stops the exporter: the order is exporter.start, queue.start,
 * …, queue.stop, exporter.stop.
 *
 * When the queue is at one of its bounds, what is offered is refused (the newest), as in the OpenTelemetry Collector: what was
 * taken stays. Only a full disk takes the oldest, since what is newest then has no other place to be.
 *
 * @throws AgentError for disk storage without a directory.
 */
export function createQueue(options: {
  readonly exporter: Pick<Exporter, 'push'>;
  readonly config: QueueConfig;
  readonly context: ComponentContext;
}): DeliveryQueue {
  return new Queue({
    ...options,
    store: makeStore(options.config, options.context),
    pressure$: new BehaviorSubject(false),
  });
}

function makeStore({ sending_queue }: QueueConfig, { id, clock }: ComponentContext): Store {
  const { storage, directory, fsync, queue_bytes } = sending_queue;
  if (storage === 'memory') return memoryStore();
  if (directory === undefined) {
    throw new AgentError('E_QUEUE_DIRECTORY', 'sending_queue.storage: disk needs sending_queue.directory.', {
      component: id,
    });
  }
  return new DiskStore({ directory, id, fsync, queueBytes: queue_bytes, clock });
}
