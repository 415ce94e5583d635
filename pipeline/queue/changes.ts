import type { Batch } from '../batch.ts';
import type { QueueFile, Row } from './queue-file.ts';
import type { Entry } from './store.ts';

/** Where an entry's batch is. */
export interface State {
  /** In the file under this id. */
  row?: number;
  /** Encoded: not yet in the file, or newer than there. */
  payload?: Uint8Array | undefined;
  /** As it came. */
  batch?: Batch | undefined;
}

/** What the next transaction on the queue file does. */
export class Changes {
  /** Entries to insert, or to update where they have a row. */
  readonly writes = new Set<Entry>();
  /** Bytes of them. */
  bytes = 0;
  #removes: number[] = [];
  #moves: number[] = [];
  #asides: { row: Omit<Row, 'bytes'>; payload: Uint8Array }[] = [];
  readonly #tries = new Map<number, number>();

  get pending(): boolean {
    const { writes } = this;
    return writes.size + this.#removes.length + this.#moves.length + this.#asides.length + this.#tries.size > 0;
  }

  write(entry: Entry): void {
    this.writes.add(entry);
    this.bytes += entry.bytes;
  }

  unwrite(entry: Entry): void {
    if (this.writes.delete(entry)) this.bytes -= entry.bytes;
  }

  remove(...rows: readonly number[]): void {
    for (const row of rows) {
      this.#tries.delete(row);
      this.#removes.push(row);
    }
  }

  /** Moves what is in the file, or else the payload, to the batches set aside. */
  setAside({ kind, items, tries }: Entry, { row, payload }: State): void {
    if (row !== undefined) {
      this.#tries.delete(row);
      this.#moves.push(row);
    } else if (payload) this.#asides.push({ row: { id: 0, kind, items, tries }, payload });
  }

  setTries(row: number, tries: number): void {
    this.#tries.set(row, tries);
  }

  /** Does all of it in one transaction and gives new entries their rows, from `nextRow` on. Returns the row after the last. */
  apply(file: QueueFile, states: ReadonlyMap<Entry, State>, nextRow: number): number {
    let row = nextRow;
    const rows: [State, number][] = [];
    file.transaction(() => {
      for (const id of this.#removes) file.remove(id);
      for (const id of this.#moves) file.moveAside(id);
      for (const a of this.#asides) file.addAside(a.row, a.payload);
      for (const [id, tries] of this.#tries) file.setTries(id, tries);
      for (const entry of this.writes) {
        const state = states.get(entry)!;
        if (state.row !== undefined) file.update(state.row, entry.items, state.payload!);
        else {
          rows.push([state, row]);
          file.insert({ id: row++, kind: entry.kind, items: entry.items, tries: entry.tries }, state.payload!);
        }
      }
    });
    for (const [state, id] of rows) state.row = id;
    return row;
  }

  clear(): void {
    this.writes.clear();
    this.bytes = 0;
    this.#asides = [];
    this.forgetRows();
  }

  /** The file these rows were in is gone. */
  forgetRows(): void {
    this.#removes = [];
    this.#moves = [];
    this.#tries.clear();
  }
}
