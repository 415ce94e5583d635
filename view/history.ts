/** Counts over time on a grid, the newest `points` steps. One row of quantities a step; a step that nobody wrote is all zeroes. */
export class History {
  readonly points: number;
  readonly #columns: number;
  readonly #values: Float64Array;
  /** Number of the newest step written, -1 = none. */
  #head = -1;

  constructor(points: number, columns: number) {
    this.points = points;
    this.#columns = columns;
    this.#values = new Float64Array(points * columns);
  }

  /** Adds to a step; one that is older than the grid is left out. */
  add(step: number, column: number, n: number): void {
    if (step > this.#head) this.#advance(step);
    if (step <= this.#head - this.points || step < 0) return;
    const at = (step % this.points) * this.#columns + column;
    this.#values[at] = this.#values[at]! + n;
  }

  at(step: number, column: number): number {
    if (step > this.#head || step <= this.#head - this.points || step < 0) return 0;
    return this.#values[(step % this.points) * this.#columns + column]!;
  }

  /** Sum of steps `from` to `to`, both included. */
  sum(from: number, to: number, column: number): number {
    let sum = 0;
    for (let step = Math.max(from, this.#head - this.points + 1, 0); step <= Math.min(to, this.#head); step++) {
      sum += this.#values[(step % this.points) * this.#columns + column]!;
    }
    // Counts that were spread over steps add up to a hair beside the whole number.
    const whole = Math.round(sum);
    return Math.abs(sum - whole) < 1e-6 ? whole : sum;
  }

  #advance(step: number): void {
    for (let s = Math.max(this.#head + 1, step - this.points + 1); s <= step; s++) {
      const row = (s % this.points) * this.#columns;
      this.#values.fill(0, row, row + this.#columns);
    }
    this.#head = step;
  }
}

/**
 * Spreads a count that came about between two collections evenly over the steps between them, so that a collection interval longer than a
 * step (or out of phase with it) makes no combs.
 */
export function spread(
  fromMs: number,
  toMs: number,
  stepMs: number,
  n: number,
  add: (step: number, n: number) => void,
): void {
  const last = Math.floor(toMs / stepMs);
  const first = Math.floor(fromMs / stepMs);
  if (!(toMs > fromMs) || first === last) {
    add(last, n);
    return;
  }
  let left = n;
  for (let step = first; step < last; step++) {
    const part = (n * ((step + 1) * stepMs - Math.max(fromMs, step * stepMs))) / (toMs - fromMs);
    add(step, part);
    left -= part;
  }
  add(last, left);
}

/** Who-knows-what happened how often, by step: bounded, for counts told apart by a label. */
export class Occurrences {
  readonly #most: number;
  /** `column label` → step → count. */
  readonly #counts = new Map<number, Map<string, Map<number, number>>>();
  #entries = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(step: number, column: number, label: string, n: number, oldest: number): void {
    if (this.#entries >= this.#most) this.#forget(oldest);
    const labels = this.#counts.get(column) ?? new Map<string, Map<number, number>>();
    this.#counts.set(column, labels);
    let steps = labels.get(label);
    if (!steps) {
      steps = new Map();
      labels.set(label, steps);
    }
    const before = steps.get(step);
    // Full of what is still young: the quantity itself goes on counting, only its break-down is cut.
    if (before === undefined && this.#entries >= this.#most) return;
    if (before === undefined) this.#entries++;
    steps.set(step, (before ?? 0) + n);
  }

  /** Label → count of steps `from` and later. */
  since(from: number, column: number): Map<string, number> {
    const out = new Map<string, number>();
    for (const [label, steps] of this.#counts.get(column) ?? []) {
      let sum = 0;
      for (const [step, n] of steps) if (step >= from) sum += n;
      if (sum > 0) out.set(label, sum);
    }
    return out;
  }

  #forget(oldest: number): void {
    for (const [column, labels] of this.#counts) {
      for (const [label, steps] of labels) {
        for (const step of steps.keys()) {
          if (step >= oldest) continue;
          steps.delete(step);
          this.#entries--;
        }
        if (steps.size === 0) labels.delete(label);
      }
      if (labels.size === 0) this.#counts.delete(column);
    }
  }
}
