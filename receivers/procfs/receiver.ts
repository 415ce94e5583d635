import { Observable, timer } from 'rxjs';
import { hostRoot, ProcRoot } from '../../host/proc-root.ts';
import type { Batch } from '../../pipeline/batch.ts';
import type { Receiver, ReceiverContext } from '../../pipeline/component.ts';
import { Collection } from './collection.ts';
import type { ProcfsConfig } from './config.ts';
import { Slices, Stopped } from './slices.ts';

/** The receiver: a collection every `collection_interval`, each given up when the subscription ends. */
export class ProcfsReceiver implements Receiver {
  readonly #config: ProcfsConfig;
  readonly #context: ReceiverContext;

  constructor(config: ProcfsConfig, context: ReceiverContext) {
    this.#config = config;
    this.#context = context;
  }

  run(): Observable<Batch> {
    return new Observable((subscriber) => {
      const { clock, pressure$, telemetry } = this.#context;
      const { collection_interval: interval, initial_delay: delay } = this.#config;
      const skipped = telemetry.counter('collections_skipped', '{collection}', 'Collections left out, by reason.');
      const collection = new Collection(this.#config, this.#context, rootOf(this.#config.root_path));
      let running: Slices | undefined;
      let pressed = false;
      const collect = async () => {
        // Everything collected here is cumulative or a momentary value: a collection left out loses nothing but resolution.
        if (running || pressed) {
          skipped.add(1, { reason: running ? 'still_running' : 'pressure' });
          return;
        }
        const slices = new Slices();
        running = slices;
        try {
          await collection.round(slices, (batch) => subscriber.next(batch));
        } catch (error) {
          if (!(error instanceof Stopped)) telemetry.failed('collection', error);
        } finally {
          running = undefined;
        }
      };
      subscriber.add(
        pressure$.subscribe((on) => {
          pressed = on;
        }),
      );
      subscriber.add(timer(delay, interval, clock.scheduler).subscribe(() => void collect()));
      subscriber.add(() => running?.stop());
    });
  }
}

/** The machine itself, or where it is mounted in this container. */
export function rootOf(path: string): ProcRoot {
  if (path === '' || path === '/') return hostRoot;
  const base = path.replace(/\/+$/, '');
  return new ProcRoot({ proc: `${base}/proc`, sys: `${base}/sys`, run: `${base}/run` });
}
