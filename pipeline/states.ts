import type { ComponentKind } from './component.ts';

/** What a component is doing, for the health page and the agent's own metrics. */
export type ComponentState =
  | { readonly state: 'starting' }
  | { readonly state: 'running' }
  /** This host lacks what it needs; it is off, the rest runs. */
  | { readonly state: 'absent'; readonly reason: string }
  /** `retryAtMs`: Unix epoch ms of the next try. */
  | { readonly state: 'failed'; readonly reason: string; readonly retryAtMs?: number }
  | { readonly state: 'stopped' };

export const stateNames = ['starting', 'running', 'absent', 'failed', 'stopped'] as const;

/** One component, or one processor of one pipeline. */
export interface ComponentKey {
  readonly kind: ComponentKind;
  readonly id: string;
  /** Processors have an instance in each pipeline. */
  readonly pipeline?: string;
}

export interface ComponentReport extends ComponentKey {
  readonly state: ComponentState;
  /** Parts of it that this host lacks: what → reason. */
  readonly absent: Readonly<Record<string, string>>;
  /** Parts of it that fail at this moment. */
  readonly failing: readonly string[];
}

/** The state of every component there is. */
export class States {
  readonly #of = new Map<string, { key: ComponentKey; state: ComponentState }>();

  set(key: ComponentKey, state: ComponentState): void {
    this.#of.set(keyText(key), { key, state });
  }
  get(key: ComponentKey): ComponentState | undefined {
    return this.#of.get(keyText(key))?.state;
  }
  delete(key: ComponentKey): void {
    this.#of.delete(keyText(key));
  }
  list(): readonly { readonly key: ComponentKey; readonly state: ComponentState }[] {
    return [...this.#of.values()];
  }
}

function keyText({ kind, id, pipeline }: ComponentKey): string {
  return `${kind} ${id} ${pipeline ?? ''}`;
}

/**
 * Where one instance reports its state. Nothing is seen before `open`, since the instance may be built beside the one it is to replace
 * and be thrown away; nothing is seen after `close`, when its successor has the word.
 */
export class StateGate {
  readonly #states: States;
  readonly #key: ComponentKey;
  #phase: 'held' | 'open' | 'closed' = 'held';
  #last: ComponentState;

  constructor(states: States, key: ComponentKey, first: ComponentState) {
    this.#states = states;
    this.#key = key;
    this.#last = first;
  }

  report(state: ComponentState): void {
    this.#last = state;
    if (this.#phase === 'open') this.#states.set(this.#key, state);
  }
  open(): void {
    if (this.#phase !== 'held') return;
    this.#phase = 'open';
    this.#states.set(this.#key, this.#last);
  }
  close(): void {
    this.#phase = 'closed';
  }
}
