import type { Snapshot } from '../pipeline/batch.ts';
import type { SourceState } from './collection.ts';
import { planOf } from './plan.ts';
import type { Subject } from './subject.ts';

/** All that the view holds, for those who read it. */
export interface ViewState {
  readonly nodeName: string;
  readonly clock: { nowMs(): number };
  readonly stepMs: number;
  readonly points: number;
  /** Steps that "recent" looks back. */
  readonly windowSteps: number;
  readonly subjects: Map<string, Subject>;
  /** Events of whom nothing else is known: in the sums of the node, and nobody's trouble. */
  readonly strays: Subject;
  readonly sources: Map<string, SourceState>;
  /** Columns that some source of this node feeds: there 0 is "none", elsewhere it is "not observed". */
  readonly observed: Set<number>;
  /** Keys that found no room. */
  readonly untracked: Set<string>;
}

/** The step that now is in. */
export function stepNow({ clock, stepMs }: ViewState): number {
  return Math.floor(clock.nowMs() / stepMs);
}

/** The first step of the window: the one under way is one of them. */
export function windowStart(state: ViewState): number {
  return stepNow(state) - state.windowSteps + 1;
}

/** One value of a metric in the last batches. */
export interface Found {
  readonly value: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly slot: number;
  readonly snapshot: Snapshot;
  readonly source: SourceState;
}

/** The values that a subject's last batches hold for a metric of `lookups`. */
export function* lookUp(subject: Subject, metric: string, state: ViewState): Generator<Found> {
  for (const source of state.sources.values()) {
    for (const snapshot of source.subjects.get(subject) ?? []) {
      for (const { offset: slot, attributes } of planOf(snapshot.schema).lookups.get(metric) ?? []) {
        const value = snapshot.values[slot]!;
        if (!Number.isNaN(value)) yield { value, attributes, slot, snapshot, source };
      }
    }
  }
}
