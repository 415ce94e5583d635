import type { LogRecord, Resource } from '../pipeline/batch.ts';
import { eventLine, eventType, lineOwner } from '../pipeline/event-line.ts';
import { keyOf } from './subject.ts';
import type { EventFilter, ViewEvent } from './types.ts';

/** The last events, and those who listen to new ones. */
export class EventLog {
  readonly #events: (ViewEvent | undefined)[];
  readonly #listeners = new Set<(event: ViewEvent) => void>();
  readonly #owners = new WeakMap<Resource, Pick<ViewEvent, 'key' | 'kind' | 'pod' | 'namespace'>>();
  #sequence = 0;

  constructor(most: number) {
    this.#events = new Array(most);
  }

  add(record: LogRecord): ViewEvent {
    let owner = this.#owners.get(record.resource);
    if (!owner) {
      owner = { ...keyOf(record.resource), ...lineOwner(record.resource) };
      this.#owners.set(record.resource, owner);
    }
    const event: ViewEvent = { sequence: ++this.#sequence, ...owner, type: eventType(record), record };
    this.#events[event.sequence % this.#events.length] = event;
    for (const listener of this.#listeners) listener(event);
    return event;
  }

  /**
   * @param kept events that subjects keep of their own: those that a noisy neighbour pushed out of the log are taken from there
   * @returns at most `limit`, newest first
   */
  list(filter: EventFilter, limit: number, kept: () => Iterable<ViewEvent>): ViewEvent[] {
    const wanted = eventMatcher(filter);
    const out: ViewEvent[] = [];
    const oldest = Math.max(0, this.#sequence - this.#events.length);
    for (let s = this.#sequence; s > oldest && out.length < limit; s--) {
      const event = this.#events[s % this.#events.length]!;
      if (wanted(event)) out.push(event);
    }
    if (out.length === limit || oldest <= (filter.after ?? 0)) return out;
    const older = [...kept()].filter((event) => event.sequence <= oldest && wanted(event));
    return [...out, ...older.sort((a, b) => b.sequence - a.sequence)].slice(0, limit);
  }

  /** @returns what ends it. */
  subscribe(listener: (event: ViewEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A filter as a function, made once for many events. */
export function eventMatcher(filter: EventFilter): (event: ViewEvent) => boolean {
  const { key, after, named } = filter;
  const pod = filter.pod === undefined ? undefined : wildcard(filter.pod);
  const namespace = filter.namespace === undefined ? undefined : wildcard(filter.namespace);
  const types = filter.types?.length ? filter.types.map(wildcard) : undefined;
  const words = filter.text?.toLowerCase().split(/\s+/).filter(Boolean) ?? [];
  return (event) => {
    if (after !== undefined && event.sequence <= after) return false;
    if (key !== undefined && event.key !== key) return false;
    if (named && event.kind === 'netns') return false;
    if (pod && !pod.test(event.pod)) return false;
    if (namespace && !namespace.test(event.namespace)) return false;
    if (types && !types.some((t) => t.test(event.type) || t.test(event.record.eventName))) return false;
    if (words.length === 0) return true;
    const line = ` ${eventLine(event.record).toLowerCase()}`;
    // `pod=web` is that field, and not the end of `peer.pod=web`.
    return words.every((word) => line.includes(word.includes('=') ? ` ${word}` : word));
  };
}

/** Case is ignored; a pattern is for the whole. */
function wildcard(pattern: string): RegExp {
  const source = pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 'is');
}
