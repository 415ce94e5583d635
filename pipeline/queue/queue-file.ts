import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Batch } from '../batch.ts';
import { AgentError } from '../errors.ts';

/** A batch in the file, without its payload. */
export interface Row {
  readonly id: number;
  readonly kind: Batch['kind'];
  readonly items: number;
  readonly tries: number;
  readonly bytes: number;
}

export interface FileOptions {
  readonly path: string;
  /** `always`: a disk sync with each transaction. `checkpoint`: the disk is synced when the log is moved into the database. */
  readonly fsync: 'checkpoint' | 'always';
  /** Most bytes of batches given up that are kept for a look; the oldest go first. */
  readonly asideBytes: number;
}

/** Format of the tables, in PRAGMA user_version. */
const formatVersion = 1;
/** Room that is given up when the disk is full, so that deleting, which writes to the log first, is possible then. */
const reserveBytes = 2 * 1024 * 1024;
/** An empty file larger than this is made anew at start; a file does not shrink by itself. */
const staleBytes = 8 * 1024 * 1024;

/** Primary result codes (sqlite.org/rescode.html). */
const codes = { ioError: 10, corrupt: 11, full: 13, notADatabase: 26 } as const;

function codeOf(error: unknown): number {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : 0;
}
/** Writing failed for want of room; an I/O error is how a full file system shows in mapped memory. */
export function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.full || code === codes.ioError;
}
export function isCorrupt(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.corrupt || code === codes.notADatabase || error instanceof BadFormat;
}

class BadFormat extends Error {}

/** The SQLite file of one queue, in WAL mode. Methods throw what SQLite throws. */
export class QueueFile {
  readonly path: string;
  readonly rows: readonly Row[];
  readonly #db: DatabaseSync;
  readonly #lock: DatabaseSync;
  readonly #options: FileOptions;
  #statements: Record<'insert' | 'update' | 'remove' | 'tries' | 'payload' | 'aside' | 'move' | 'trim', StatementSync>;
  #reserved = false;
  #reserveAtMs = Number.NEGATIVE_INFINITY;

  /** Opens or makes the file. @throws when it is corrupt ({@link isCorrupt}), in use by another process, or cannot be had. */
  constructor(options: FileOptions) {
    this.#options = options;
    this.path = options.path;
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 });
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
    this.#lock = takeLock(DatabaseSync, options.path);
    let db: DatabaseSync | undefined;
    try {
      removeStale(DatabaseSync, options.path);
      db = new DatabaseSync(options.path);
      prepare(db, options.fsync);
      this.#db = db;
      this.rows = db
        .prepare('SELECT id, kind, items, tries, length(payload) AS bytes FROM batches ORDER BY id')
        .all() as unknown as Row[];
      this.#statements = statements(db);
    } catch (error) {
      db?.close();
      this.#lock.close();
      throw error;
    }
  }

  /** Runs `work` in one transaction; on any error nothing of it is done. */
  transaction(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  insert(row: Omit<Row, 'bytes'>, payload: Uint8Array): void {
    this.#statements.insert.run(row.id, row.kind, row.items, row.tries, payload);
  }
  update(id: number, items: number, payload: Uint8Array): void {
    this.#statements.update.run(items, payload, id);
  }
  setTries(id: number, tries: number): void {
    this.#statements.tries.run(tries, id);
  }
  remove(id: number): void {
    this.#statements.remove.run(id);
  }
  payload(id: number): Uint8Array | undefined {
    const row = this.#statements.payload.get(id) as { payload: Uint8Array } | undefined;
    return row?.payload;
  }

  /** Keeps a batch that was never in the file among those given up. */
  addAside(row: Omit<Row, 'bytes'>, payload: Uint8Array): void {
    this.#statements.aside.run(row.kind, row.items, row.tries, payload);
    this.#statements.trim.run(this.#options.asideBytes);
  }

  /** Moves a batch of the file to those given up. */
  moveAside(id: number): void {
    this.#statements.move.run(id);
    this.#statements.remove.run(id);
    this.#statements.trim.run(this.#options.asideBytes);
  }

  /** Writes the log back and starts it anew. `TRUNCATE` gives its room back to the disk. */
  checkpoint(mode: 'RESTART' | 'TRUNCATE'): void {
    this.#db.exec(`PRAGMA wal_checkpoint(${mode})`);
  }

  /** Takes the room that {@link release} gives up, if there is any to take; tried again at most every ten seconds. */
  reserve(nowMs: number): void {
    if (this.#reserved || nowMs < this.#reserveAtMs) return;
    this.#reserveAtMs = nowMs + 10_000;
    const path = `${this.path}.reserve`;
    try {
      writeFileSync(path, Buffer.alloc(reserveBytes, 1), { mode: 0o600 });
      this.#reserved = true;
    } catch {
      rmSync(path, { force: true });
    }
  }

  /** True when there was any. */
  release(): boolean {
    const had = this.#reserved;
    rmSync(`${this.path}.reserve`, { force: true });
    this.#reserved = false;
    return had;
  }

  close(): void {
    rmSync(`${this.path}.reserve`, { force: true });
    this.#db.close();
    this.#lock.close();
  }
}

function prepare(db: DatabaseSync, fsync: FileOptions['fsync']): void {
  db.exec('PRAGMA busy_timeout = 1000');
  const { user_version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
  if (user_version > formatVersion)
    throw new BadFormat(`Queue file of format ${user_version}, expected ${formatVersion}`);
  // NORMAL in WAL mode: a commit is in the operating system's hands, which is what kill -9 cannot undo; FULL: on the disk.
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${fsync === 'always' ? 'FULL' : 'NORMAL'};
    PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 4194304; PRAGMA cache_size = -512`);
  db.exec(`
    CREATE TABLE IF NOT EXISTS batches (
      id INTEGER PRIMARY KEY, kind TEXT NOT NULL, items INTEGER NOT NULL, tries INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS set_aside (
      id INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, kind TEXT NOT NULL, items INTEGER NOT NULL,
      tries INTEGER NOT NULL, payload BLOB NOT NULL);
    PRAGMA user_version = ${formatVersion}`);
}

function statements(db: DatabaseSync) {
  return {
    insert: db.prepare('INSERT INTO batches (id, kind, items, tries, payload) VALUES (?, ?, ?, ?, ?)'),
    update: db.prepare('UPDATE batches SET items = ?, payload = ? WHERE id = ?'),
    remove: db.prepare('DELETE FROM batches WHERE id = ?'),
    tries: db.prepare('UPDATE batches SET tries = ? WHERE id = ?'),
    payload: db.prepare('SELECT payload FROM batches WHERE id = ?'),
    aside: db.prepare('INSERT INTO set_aside (kind, items, tries, payload) VALUES (?, ?, ?, ?)'),
    move: db.prepare(
      'INSERT INTO set_aside (kind, items, tries, payload) SELECT kind, items, tries, payload FROM batches WHERE id = ?',
    ),
    trim: db.prepare(`DELETE FROM set_aside WHERE id NOT IN (
      SELECT id FROM (SELECT id, sum(length(payload)) OVER (ORDER BY id DESC) AS total FROM set_aside) WHERE total <= ?)`),
  };
}

type Sqlite = typeof DatabaseSync;

/**
 * One process at a time: an exclusive transaction on an empty database beside the queue's. It ends with the process however that
 * ends, holds across containers on one node, and leaves the queue's own file open to the checkpointer.
 */
function takeLock(sqlite: Sqlite, path: string): DatabaseSync {
  const lock = new sqlite(`${path}.lock`);
  try {
    // Journal in memory: nothing is ever written but the lock byte ranges.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock.close();
    throw new AgentError('E_QUEUE_LOCKED', `The queue file ${path} is in use by another process.`, { cause });
  }
}

/** Removes an empty file that an earlier backlog left large. */
function removeStale(sqlite: Sqlite, path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= staleBytes) return;
  const db = new sqlite(path);
  let rows = 1;
  try {
    const count = db.prepare('SELECT (SELECT count(*) FROM batches) + (SELECT count(*) FROM set_aside) AS rows').get();
    rows = Number(count?.['rows']);
  } finally {
    db.close();
  }
  if (rows === 0) deleteFile(path);
}

/** Deletes a closed file with its log. */
export function deleteFile(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
}

/** Moves a file that cannot be read out of the way, in place of an earlier one. Returns its new path. */
export function moveAside(path: string, nowMs: number): string {
  const folder = dirname(path);
  const prefix = `${basename(path)}.corrupt-`;
  for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name), { force: true });
  const to = join(folder, prefix + Math.floor(nowMs));
  renameSync(path, to);
  // The log belongs to the file and is needed to make anything of it.
  if (statSync(`${path}-wal`, { throwIfNoEntry: false })) renameSync(`${path}-wal`, `${to}-wal`);
  rmSync(`${path}-shm`, { force: true });
  return to;
}
