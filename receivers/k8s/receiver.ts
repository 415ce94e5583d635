import { Observable, type Subscription } from 'rxjs';
import type { Batch } from '../../pipeline/batch.ts';
import type { Receiver, ReceiverContext } from '../../pipeline/component.ts';
import { ApiClient } from './api-client.ts';
import type { K8sConfig } from './config.ts';
import { credentialsOf } from './credentials.ts';
import { type ResourceName, Trimmer } from './objects.ts';
import { PeerStore } from './peer-store.ts';
import { Reflector } from './reflector.ts';

/** When some resource does not get filled, the others wait for it no longer than this. */
const longestFillMs = 10_000;
const resources = ['nodes', 'services', 'pods'] as const satisfies readonly ResourceName[];

/** Makes the receiver. @param env where the API server is, in a pod. */
export function createReceiver(
  config: K8sConfig,
  context: ReceiverContext,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Receiver {
  const { telemetry } = context;
  let session: Session | undefined;
  telemetry.gauge('k8s_peers', '{peer}', 'Peers that are known, by what they are.', () =>
    session === undefined ? [] : resources.map((resource) => [session!.store.sizeOf(resource), { resource }]),
  );
  telemetry.gauge(
    'k8s_stale',
    's',
    'For how long the API server has not been listened to, so that what is known may be out of date; 0 = it is.',
    () => session?.reflectors.map((r) => [r.staleSeconds, { resource: r.resource }]) ?? [],
  );
  const events = telemetry.counter('k8s_watch_events', '{event}', 'Events of the API server’s watches, by type.');
  return {
    run: () =>
      new Observable<Batch>((subscriber) => {
        const credentials = credentialsOf(config, env);
        const client = new ApiClient(credentials, {
          clock: context.clock,
          timeoutMs: config.timeout,
          userAgent: `skoopline/${context.version}`,
        });
        const started = new Session(config, context, client, events, (batch) => subscriber.next(batch));
        session = started;
        started.start((error) => subscriber.error(error));
        return () => {
          started.stop();
          if (session === started) session = undefined;
        };
      }),
  };
}

/** One subscription: a reflector for each resource, and what they know as batches, at most one an interval. */
class Session {
  readonly store: PeerStore;
  readonly reflectors: readonly Reflector[];
  readonly #config: K8sConfig;
  readonly #context: ReceiverContext;
  readonly #emit: (batch: Batch) => void;
  readonly #stop = new AbortController();
  /** Resources that nobody has tried to fill yet. */
  readonly #awaited: Set<ResourceName>;
  #timer: Subscription | undefined;
  #isDirty = false;
  #isOpen = false;
  #hasSent = false;

  constructor(
    config: K8sConfig,
    context: ReceiverContext,
    client: ApiClient,
    events: { add(n: number, attributes?: Record<string, string>): void },
    emit: (batch: Batch) => void,
  ) {
    this.#config = config;
    this.#context = context;
    this.#emit = emit;
    const ownNode = context.node.name;
    this.store = new PeerStore({
      trimmer: new Trimmer(ownNode),
      maxPeers: config.max_peers,
      ownNode,
      telemetry: context.telemetry,
      onChange: () => this.#changed(),
    });
    const watched = resources.filter((resource) => config[resource]);
    this.#awaited = new Set(watched);
    this.reflectors = watched.map((resource) => {
      const onTried = () => {
        this.#awaited.delete(resource);
        if (this.#awaited.size === 0) this.#open();
      };
      return new Reflector({ resource, config, context, client, sink: this.store.sinkOf(resource), onTried, events });
    });
  }

  start(onError: (error: unknown) => void): void {
    this.#timer = this.#context.clock.scheduler.schedule(() => this.#open(), longestFillMs);
    for (const reflector of this.reflectors) reflector.run(this.#stop.signal).catch(onError);
  }

  stop(): void {
    this.#stop.abort();
    this.#timer?.unsubscribe();
  }

  /** The first list waits until all resources are there: half of it would give some peers no name. */
  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#timer?.unsubscribe();
    this.#timer = undefined;
    if (this.#isDirty) this.#send();
  }

  #changed(): void {
    this.#isDirty = true;
    if (this.#isOpen && this.#timer === undefined) this.#wait();
  }

  #wait(): void {
    this.#timer = this.#context.clock.scheduler.schedule(() => {
      this.#timer = undefined;
      if (this.#isDirty) this.#send();
    }, this.#config.emit_interval);
  }

  #send(): void {
    this.#isDirty = false;
    const entities = this.store.list();
    if (entities.length === 0 && !this.#hasSent) return;
    this.#hasSent = true;
    this.#emit(
      Object.freeze({ kind: 'entities', source: this.#context.id, timeMs: this.#context.clock.nowMs(), entities }),
    );
  }
}
