import { join } from 'node:path';
import type { Subscription } from 'rxjs';
import type { Batch } from '../batch.ts';
import type { Clock } from '../clock.ts';
import { Changes, type State } from './changes.ts';
import { Checkpointer } from './checkpointer.ts';
import { decodeBatch, encodeBatch } from './codec.ts';
import { deleteFile, isCorrupt, isFull, moveAside, QueueFile, type Row } from './queue-file.ts';
import { type Entry, newEntry, type Store, type StoreEvents, type StoreLoss, type Weighed } from './store.ts';

/** Changes are written together after this time, or when there are this many bytes of them: fewer transactions, none of them long. */
const groupMs = 10;
const groupBytes = 1024 * 1024;
/** While the file cannot be written, batches wait in memory up to this; it is tried again after `retryMs`. */
const memoryBytes = 8 * 1024 * 1024;
const retryMs = 1000;
/** Batches kept decoded while they wait, so that a healthy backend costs no reading; by their size on disk, a fifth of that in memory. */
const cacheBytes = 1024 * 1024;
/** Size of the log at which it is moved into the database, and at which the writer itself ends it. */
const logBytes = 2 * 1024 * 1024;
const logLimitBytes = 64 * 1024 * 1024;
/** What may wait for a checkpoint to end. */
const checkpointBytes = 4 * 1024 * 1024;
/** What a row and its index take besides the payload. */
const rowBytes = 64;
/** Times the oldest batches make room before new ones wait in memory instead. */
const maxEvictions = 4;

interface DiskOptions {
  readonly directory: string;
  /** Component id; part of the file's name. */
  readonly id: string;
  readonly fsync: 'checkpoint' | 'always';
  readonly queueBytes: number;
  readonly clock: Clock;
}

/** Path of a queue's file. */
export function queuePath(directory: string, id: string): string {
  return join(directory, `${encodeURIComponent(id)}.queue.db`);
}

/**
 * Batches in a SQLite file. A batch is acknowledged, and survives kill -9, when its group was committed: at most 10 ms after it was
 * offered, or by `flush`. One that was delivered before that never touches the disk.
 */
export class DiskStore implements Store {
  readonly durable = true;
  readonly #options: DiskOptions;
  readonly #path: string;
  readonly #states = new Map<Entry, State>();
  #events: StoreEvents | undefined;
  #file: QueueFile | undefined;
  #checkpointer: Checkpointer | undefined;
  #nextRow = 1;
  #timer: Subscription | undefined;
  #failing = false;
  #cached = 0;
  #log = 0;
  readonly #changes = new Changes();

  constructor(options: DiskOptions) {
    this.#options = options;
    this.#path = queuePath(options.directory, options.id);
  }

  open(events: StoreEvents): void {
    this.#events = events;
    this.#commit();
  }

  weigh(batch: Batch, items: number): Weighed {
    const payload = encodeBatch(batch);
    return { batch, items, bytes: payload.length + rowBytes, payload };
  }

  add(entry: Entry, { batch, payload }: Weighed): void {
    this.#states.set(entry, { payload, batch });
    this.#cached += entry.bytes;
    this.#write(entry);
  }

  read(entry: Entry): Batch | undefined {
    const state = this.#states.get(entry);
    if (!state || state.batch) return state?.batch;
    try {
      const payload = state.payload ?? this.#file?.payload(state.row!);
      return payload && decodeBatch(payload);
    } catch (error) {
      this.#events?.failed('stored batch', error);
      if (isCorrupt(error)) this.#corrupted(error);
      return undefined;
    }
  }

  replace(entry: Entry, { batch, items, bytes, payload }: Weighed): void {
    const state = this.#states.get(entry);
    if (!state) return;
    this.#uncache(entry, state);
    this.#changes.unwrite(entry);
    entry.items = items;
    entry.bytes = bytes;
    Object.assign(state, { batch, payload });
    this.#cached += bytes;
    this.#write(entry);
  }

  remove(entry: Entry): void {
    const state = this.#take(entry);
    if (state?.row === undefined) return;
    this.#changes.remove(state.row);
    this.#schedule();
  }

  setAside(entry: Entry): void {
    const state = this.#take(entry);
    if (!state) return;
    this.#changes.setAside(entry, state);
    this.#schedule();
  }

  failedTry(entry: Entry): void {
    const row = this.#states.get(entry)?.row;
    if (row === undefined) return;
    this.#changes.setTries(row, entry.tries);
    this.#schedule();
  }

  flush(): void {
    this.#commit();
    if (this.#changes.writes.size > 0) throw new Error('The queue file cannot be written now.');
  }

  close(): void {
    if (this.#events) this.#commit();
    this.#cancel();
    // What never reached the disk ends with the process.
    if (this.#changes.writes.size > 0) this.#lose([...this.#changes.writes], 'disk_error');
    this.#closeFile();
    this.#states.clear();
  }

  // --- what waits to be written ---

  #write(entry: Entry): void {
    this.#changes.write(entry);
    if (this.#changes.bytes >= groupBytes && !this.#failing) this.#commitGroup();
    else this.#schedule();
  }

  /** Forgets an entry; returns what was known of it. */
  #take(entry: Entry): State | undefined {
    const state = this.#states.get(entry);
    if (!state) return undefined;
    this.#uncache(entry, state);
    this.#changes.unwrite(entry);
    this.#states.delete(entry);
    return state;
  }

  #uncache(entry: Entry, state: State): void {
    if (!state.batch) return;
    state.batch = undefined;
    this.#cached -= entry.bytes;
  }

  #schedule(): void {
    if (!this.#events || this.#timer) return;
    this.#timer = this.#options.clock.scheduler.schedule(() => this.#commitGroup(), this.#failing ? retryMs : groupMs);
  }

  #cancel(): void {
    this.#timer?.unsubscribe();
    this.#timer = undefined;
  }

  // --- writing ---

  /**
   * Commits, but not while a checkpoint runs: the log begins anew only when a writer finds all of it moved into the file, and the group that
   * waits is what would not be.
   */
  #commitGroup(): void {
    this.#cancel();
    if (this.#checkpointer?.busy && this.#changes.bytes < checkpointBytes) return;
    this.#commit();
  }

  #commit(): void {
    this.#cancel();
    try {
      for (let evictions = 0; !this.#file || this.#changes.pending; evictions++) {
        const file = this.#file ?? this.#openFile();
        try {
          if (this.#changes.pending) this.#writeAll(file);
        } catch (error) {
          if (!isFull(error) || evictions >= maxEvictions) throw error;
          if (!this.#evict(file) && !this.#startAnew()) throw error;
        }
      }
      this.#succeeded();
    } catch (error) {
      this.#failed(error);
    }
  }

  #writeAll(file: QueueFile): void {
    this.#nextRow = this.#changes.apply(file, this.#states, this.#nextRow);
    this.#log += this.#changes.bytes + 4096;
    for (const entry of this.#changes.writes) {
      const state = this.#states.get(entry)!;
      state.payload = undefined;
      if (this.#cached > cacheBytes) this.#uncache(entry, state);
    }
    this.#changes.clear();
  }

  #succeeded(): void {
    if (this.#failing) {
      this.#failing = false;
      this.#events?.recovered('queue file');
    }
    this.#file?.reserve(this.#options.clock.monotonicMs());
    if (this.#log >= logLimitBytes) this.#endLog();
    else if (this.#log >= logBytes && !this.#checkpointer?.busy) this.#checkpoint();
  }

  #checkpoint(): void {
    const before = this.#log;
    this.#checkpointer?.run((error) => {
      if (error) this.#events?.failed('checkpoint', error);
      else this.#log -= before;
      this.#commit();
    });
  }

  /** The worker does not keep up: the writer waits for the disk itself. */
  #endLog(): void {
    try {
      this.#file?.checkpoint('RESTART');
      this.#log = 0;
    } catch (error) {
      this.#events?.failed('checkpoint', error);
    }
  }

  /** The disk is full: gives up the oldest batches for the new ones, and the reserve for the log. False when there was nothing to give up. */
  #evict(file: QueueFile): boolean {
    const wanted = Math.max(this.#changes.bytes, groupBytes / 4);
    const victims: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#events?.oldest() ?? []) {
      if (bytes >= wanted) break;
      if (this.#states.get(entry)?.row === undefined) continue;
      victims.push(entry);
      bytes += entry.bytes;
    }
    const released = file.release();
    const ids = victims.map((entry) => this.#states.get(entry)!.row!);
    try {
      file.transaction(() => {
        for (const id of ids) file.remove(id);
      });
      file.checkpoint('TRUNCATE');
      this.#log = 0;
    } catch (error) {
      if (!isFull(error)) throw error;
      // Not even deleting is possible now. The batches are given up all the same, the rows later.
      this.#changes.remove(...ids);
    }
    this.#lose(victims, 'disk_full');
    return released || victims.length > 0;
  }

  /**
   * The log could not be moved into the file for want of room, and so neither shrinks: when nothing in them is wanted any more, both are
   * deleted. False when something is.
   */
  #startAnew(): boolean {
    for (const { row } of this.#states.values()) if (row !== undefined) return false;
    this.#closeFile();
    deleteFile(this.#path);
    this.#changes.forgetRows();
    return true;
  }

  #lose(entries: readonly Entry[], reason: StoreLoss): void {
    for (const entry of entries) this.#take(entry);
    if (entries.length > 0) this.#events?.lost(entries, reason);
  }

  #failed(error: unknown): void {
    this.#failing = true;
    this.#events?.failed('queue file', error);
    if (isCorrupt(error)) this.#corrupted(error);
    const surplus: Entry[] = [];
    let bytes = this.#changes.bytes;
    for (const entry of this.#events?.oldest() ?? []) {
      if (bytes <= memoryBytes) break;
      if (!this.#changes.writes.has(entry)) continue;
      surplus.push(entry);
      bytes -= entry.bytes;
    }
    this.#lose(surplus, isFull(error) ? 'disk_full' : 'disk_error');
    this.#schedule();
  }

  // --- the file ---

  #openFile(): QueueFile {
    const { fsync, queueBytes, clock } = this.#options;
    const options = { path: this.#path, fsync, asideBytes: Math.floor(queueBytes / 10) };
    let file: QueueFile;
    try {
      file = new QueueFile(options);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      this.#events?.setAsideFile(moveAside(this.#path, clock.nowMs()), error);
      file = new QueueFile(options);
    }
    this.#file = file;
    this.#checkpointer = new Checkpointer(this.#path);
    this.#nextRow = (file.rows.at(-1)?.id ?? 0) + 1;
    this.#restore(file.rows);
    return file;
  }

  #restore(rows: readonly Row[]): void {
    // Before all that was offered in this process.
    const entries = rows.map((r, i) => {
      const { kind, items, tries } = r;
      const entry = newEntry({ seq: i - rows.length, kind, items, bytes: r.bytes + rowBytes, tries });
      this.#states.set(entry, { row: r.id });
      return entry;
    });
    this.#events?.restored(entries);
  }

  /** Moves the file aside, with what was only in it, and starts a new one at the next commit. */
  #corrupted(error: unknown): void {
    this.#closeFile();
    try {
      this.#events?.setAsideFile(moveAside(this.#path, this.#options.clock.nowMs()), error);
    } catch (cause) {
      this.#events?.failed('queue file', cause);
    }
    this.#changes.forgetRows();
    const gone: Entry[] = [];
    for (const [entry, state] of this.#states) {
      delete state.row;
      if (state.payload) continue;
      if (!state.batch) gone.push(entry);
      else {
        state.payload = encodeBatch(state.batch);
        this.#write(entry);
      }
    }
    this.#lose(gone, 'corrupt');
  }

  #closeFile(): void {
    this.#checkpointer?.close();
    this.#checkpointer = undefined;
    try {
      this.#file?.close();
    } catch (error) {
      this.#events?.failed('queue file', error);
    }
    this.#file = undefined;
    this.#log = 0;
  }
}
