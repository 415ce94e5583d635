/**
 * Sums over processes (or threads) that come and go, which must never fall: what one has contributed stays when it ends.
 */

export interface Member {
  /** pid and start time, or tid: who it is. */
  readonly key: string;
  readonly values: readonly number[];
  /** Key of the process that will reap it, where the kernel adds its numbers to the reaper's. */
  readonly reaper?: string | undefined;
}

/**
 * Adds up what the members gained since the last round. The kernel adds a reaped child's counters to its parent's (wait_task_zombie() in
 * kernel/exit.c, for /proc/PID/io): what the child had shown already is taken off the gain of the parent, so that it counts once.
 */
export class Accumulator {
  readonly totals: number[];
  #last = new Map<string, Member>();

  constructor(width: number) {
    this.totals = new Array<number>(width).fill(0);
  }

  /** Takes everyone that lives now. */
  round(members: readonly Member[]): readonly number[] {
    const now = new Map(members.map((m) => [m.key, m]));
    const inherited = this.#inherited(now);
    for (const m of members) {
      const before = this.#last.get(m.key);
      const minus = inherited.get(m.key);
      m.values.forEach((value, i) => {
        // A number that fell belongs to another thread with the same id.
        const was = before?.values[i] ?? 0;
        const gain = value >= was ? value - was : value;
        this.totals[i] = (this.totals[i] as number) + Math.max(0, gain - (minus?.[i] ?? 0));
      });
    }
    this.#last = now;
    return this.totals;
  }

  /** What the living got from those that ended: key → numbers counted before. */
  #inherited(now: ReadonlyMap<string, Member>): Map<string, number[]> {
    const inherited = new Map<string, number[]>();
    for (const [key, gone] of this.#last) {
      if (now.has(key)) continue;
      const heir = this.#livingReaper(gone, now);
      if (heir === undefined) continue;
      const sums = inherited.get(heir) ?? gone.values.map(() => 0);
      gone.values.forEach((v, i) => {
        sums[i] = (sums[i] as number) + v;
      });
      inherited.set(heir, sums);
    }
    return inherited;
  }

  /** The first living one up the line of parents; undefined when it leads out of the group (to the container's shim). */
  #livingReaper(gone: Member, now: ReadonlyMap<string, Member>): string | undefined {
    let next = gone.reaper;
    for (let steps = 0; next !== undefined && steps < 64; steps++) {
      if (now.has(next)) return next;
      next = this.#last.get(next)?.reaper;
    }
    return undefined;
  }
}
