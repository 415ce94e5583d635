import type { ComponentContext } from '../../pipeline/component.ts';
import { messageOf } from '../../pipeline/errors.ts';
import { type ApiClient, ApiError, type Query } from './api-client.ts';
import type { K8sConfig } from './config.ts';
import { asObject, type JsonObject, listAt, objectAt, textAt } from './json.ts';
import type { ResourceName } from './objects.ts';

/** Where objects go. */
export interface Sink {
  /** All there is follows. */
  begin(): void;
  /** An object that is there now. False when it has no identity. */
  put(object: unknown): boolean;
  remove(object: unknown): boolean;
  /** That was all: what was not put since `begin` is gone. */
  end(): void;
  /** Nothing is known any more. */
  clear(): void;
}

/** Pods that have ended keep no address. */
const selectors: Readonly<Partial<Record<ResourceName, string>>> = {
  pods: 'status.phase!=Succeeded,status.phase!=Failed',
};

const firstWaitMs = 1000;
const longestWaitMs = 60_000;
/** A watch that lived this long was a healthy one: its end is no failure. */
const steadyMs = 5000;
/** Servers send a bookmark about once a minute (apiserver's watch cache). */
const idleMs = 180_000;
/** As client-go's reflector: between five and ten minutes, so that agents do not come back all at once. */
const watchSeconds = 300;
/** A page holds many objects. */
const objectsAPage = 64;
const initialEventsEnd = 'k8s.io/initial-events-end';

/** Thrown where the version we have is too old for the server: everything has to be asked for again. */
const goneStatus = 410;
/** The server does not know, or does not allow, a watch that begins with what there is. */
const cannotStream: ReadonlySet<number> = new Set([400, 404, 405, 422]);

/**
 * Keeps a sink up to date with one resource of the API server: everything first, changes then. It never ends but by its signal; whatever
 * fails is counted and tried again after 1 s, 2 s, 4 s … 60 s, with jitter. See docs/adr/0072.
 */
export class Reflector {
  readonly resource: ResourceName;
  readonly #config: K8sConfig;
  readonly #context: ComponentContext;
  readonly #client: ApiClient;
  readonly #sink: Sink;
  readonly #onTried: () => void;
  readonly #events: { add(n: number, attributes?: Record<string, string>): void };
  /** Where to go on; undefined when everything has to be asked for. */
  #version: string | undefined;
  #canStream: boolean;
  #failures = 0;
  /** Monotonic ms since when what is known may be out of date; undefined while the server is being listened to. */
  #staleSinceMs: number | undefined;
  #isFailing = false;
  /** A line was no JSON: what it would have told is not known. */
  #hasHoles = false;

  constructor(options: {
    readonly resource: ResourceName;
    readonly config: K8sConfig;
    readonly context: ComponentContext;
    readonly client: ApiClient;
    readonly sink: Sink;
    /** Called when all is known for the first time, and at each failure. */
    readonly onTried: () => void;
    readonly events: { add(n: number, attributes?: Record<string, string>): void };
  }) {
    this.resource = options.resource;
    this.#config = options.config;
    this.#context = options.context;
    this.#client = options.client;
    this.#sink = options.sink;
    this.#onTried = options.onTried;
    this.#events = options.events;
    this.#canStream = options.config.streaming_list;
    this.#staleSinceMs = options.context.clock.monotonicMs();
  }

  /** Seconds since when what is known may be out of date; 0 while the server is being listened to. */
  get staleSeconds(): number {
    const since = this.#staleSinceMs;
    return since === undefined ? 0 : (this.#context.clock.monotonicMs() - since) / 1000;
  }

  /** Resolves when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startedMs = this.#context.clock.monotonicMs();
      let waitMs = 0;
      try {
        if (this.#version === undefined && !this.#canStream) await this.#list(signal);
        await this.#watch(signal);
        // A server that ends watches at once must not be asked in a circle.
        if (this.#context.clock.monotonicMs() - startedMs < steadyMs) waitMs = this.#backoff();
        else this.#failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (this.#context.clock.monotonicMs() - startedMs >= steadyMs) this.#failures = 0;
        waitMs = this.#failed(error);
      }
      if (signal.aborted) return;
      this.#forgetWhenOld();
      if (waitMs > 0) await this.#sleep(waitMs, signal);
    }
  }

  /** Everything, page by page. */
  async #list(signal: AbortSignal): Promise<void> {
    const maxBytes = this.#config.max_object_bytes * objectsAPage;
    let next: string | undefined;
    this.#sink.begin();
    do {
      const query = { ...this.#selector(), limit: this.#config.page_size, continue: next };
      const page = asObject(await this.#client.get(this.#path, query, { signal, maxBytes }));
      const metadata = objectAt(page, 'metadata');
      if (metadata === undefined || !Array.isArray(page?.['items'])) throw new Error('The answer is no list');
      for (const item of listAt(page, 'items')) this.#put(item);
      next = textAt(metadata, 'continue');
      this.#version = next === undefined ? textAt(metadata, 'resourceVersion') : undefined;
    } while (next !== undefined);
    this.#sink.end();
    this.#onTried();
  }

  /** Changes since the version we have; everything first where we have none. */
  async #watch(signal: AbortSignal): Promise<void> {
    const filling = this.#version === undefined && this.#canStream;
    const seconds = Math.round(watchSeconds * (1 + this.#context.clock.random()));
    const query: Query = {
      ...this.#selector(),
      watch: true,
      allowWatchBookmarks: true,
      timeoutSeconds: seconds,
      ...(filling
        ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' }
        : { resourceVersion: this.#version }),
    };
    let trouble: unknown;
    const stop = new AbortController();
    if (filling) this.#sink.begin();
    const both = AbortSignal.any([signal, stop.signal]);
    try {
      const { cut } = await this.#client.watch(this.#path, query, {
        signal: both,
        maxLineBytes: this.#config.max_object_bytes,
        idleMs,
        onOpen: () => {
          if (!filling) this.#listens();
        },
        onTooLong: () => this.#context.telemetry.rejected('object_too_big'),
        onLine: (line) => {
          if (trouble !== undefined) return;
          try {
            this.#event(line);
          } catch (error) {
            trouble = error;
            stop.abort();
          }
        },
      });
      if (cut) this.#context.telemetry.rejected('cut_event');
    } catch (error) {
      throw trouble ?? error;
    }
    if (filling && this.#version === undefined) throw new ApiError('The server did not tell when all was sent', 422);
    if (this.#hasHoles) this.#version = undefined;
    this.#hasHoles = false;
    this.#staleSinceMs ??= this.#context.clock.monotonicMs();
  }

  #event(line: string): void {
    let event: JsonObject | undefined;
    try {
      event = asObject(JSON.parse(line));
    } catch {
      this.#hasHoles = true;
      this.#context.telemetry.rejected('bad_json');
      return;
    }
    const type = textAt(event, 'type');
    const object = objectAt(event, 'object');
    const version = textAt(objectAt(object, 'metadata'), 'resourceVersion');
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
        this.#put(object);
        break;
      case 'DELETED':
        if (!this.#sink.remove(object)) this.#context.telemetry.rejected('bad_object');
        break;
      case 'BOOKMARK':
        if (
          textAt(objectAt(objectAt(object, 'metadata'), 'annotations'), initialEventsEnd) === 'true' &&
          version !== undefined
        ) {
          this.#sink.end();
          this.#version = version;
          this.#listens();
          this.#onTried();
        }
        break;
      case 'ERROR': {
        const code = object?.['code'];
        const status = typeof code === 'number' ? code : 0;
        throw new ApiError(`${status}: ${textAt(object, 'message') ?? 'the watch failed'}`, status);
      }
      default:
        this.#context.telemetry.rejected('unknown_event');
        return;
    }
    this.#events.add(1, { resource: this.resource, type });
    // While it is being filled the versions of the objects come in no order.
    if (version !== undefined && this.#version !== undefined) this.#version = version;
  }

  #put(object: unknown): void {
    if (!this.#sink.put(object)) this.#context.telemetry.rejected('bad_object');
  }

  /** The server is being listened to: what is known is what is. */
  #listens(): void {
    this.#staleSinceMs = undefined;
    if (this.#isFailing) this.#context.telemetry.recovered(this.resource);
    this.#isFailing = false;
  }

  /** @returns how long to wait, milliseconds. */
  #failed(error: unknown): number {
    const { telemetry, clock } = this.#context;
    this.#staleSinceMs ??= clock.monotonicMs();
    const status = error instanceof ApiError ? error.status : undefined;
    if (status === goneStatus) {
      // As it should be after a long pause: no failure, but all agents may come at once.
      this.#version = undefined;
      telemetry.rejected('version_gone');
      return this.#backoff();
    }
    if (this.#canStream && this.#version === undefined && status !== undefined && cannotStream.has(status)) {
      telemetry.absent(`${this.resource} streaming list`, messageOf(error));
      this.#canStream = false;
      return 0;
    }
    this.#isFailing = true;
    telemetry.failed(this.resource, error);
    this.#onTried();
    // Nobody gives a right within a second.
    if (status === 401 || status === 403) this.#failures = Math.max(this.#failures, 5);
    const asked = error instanceof ApiError ? error.retryAfterMs : undefined;
    return Math.max(this.#backoff(), Math.min(asked ?? 0, longestWaitMs));
  }

  /** The next wait: doubled each time, between half of it and all. */
  #backoff(): number {
    const plainMs = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    return Math.round(plainMs * (0.5 + this.#context.clock.random() / 2));
  }

  /** What nobody has confirmed for too long is not known. */
  #forgetWhenOld(): void {
    const since = this.#staleSinceMs;
    if (since === undefined || this.#context.clock.monotonicMs() - since < this.#config.keep_last) return;
    this.#sink.clear();
    this.#version = undefined;
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        timer.unsubscribe();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = this.#context.clock.scheduler.schedule(done, ms);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  get #path(): string {
    return `/api/v1/${this.resource}`;
  }

  #selector(): Query {
    return { fieldSelector: selectors[this.resource] };
  }
}
