import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Clock } from '../../pipeline/clock.ts';
import { errnoOf } from '../../pipeline/errors.ts';

export interface RotatingFileOptions {
  readonly path: string;
  readonly mode: number;
  /** Bytes; 0 = no limit. */
  readonly maxBytes: number;
  /** Milliseconds; 0 = no limit. */
  readonly intervalMs: number;
  /** 0 = no limit. */
  readonly maxBackups: number;
  /** Milliseconds; 0 = no limit. */
  readonly maxAgeMs: number;
  readonly fsync: boolean;
}

/** How often the name is compared with the open file. */
const checkEveryMs = 1000;

/**
 * A file that is appended to and rotated. What was moved or removed by somebody else (logrotate) is noticed within a second, or at once
 * after {@link RotatingFile.check}; the file is then opened anew. Calls of `append` must not overlap.
 */
export class RotatingFile {
  readonly #options: RotatingFileOptions;
  readonly #clock: Clock;
  #file: FileHandle | undefined;
  #inode = 0;
  #device = 0;
  #size = 0;
  #bornMs = 0;
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  /** Number of files that were put aside. */
  rotations = 0;

  constructor(options: RotatingFileOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Opens (and makes) the file. @throws the system's error. */
  async open(): Promise<void> {
    await mkdir(dirname(this.#options.path), { recursive: true });
    const file = await open(this.#options.path, 'a', this.#options.mode);
    const found = await file.stat();
    this.#file = file;
    this.#inode = found.ino;
    this.#device = found.dev;
    this.#size = found.size;
    this.#bornMs = found.size === 0 ? this.#clock.nowMs() : found.birthtimeMs || found.mtimeMs;
    this.#checkedAtMs = this.#clock.monotonicMs();
  }

  /** Makes the next `append` compare the name with the open file. */
  check(): void {
    this.#checkedAtMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Appends whole or not at all: what a full disk let through of a batch is taken back, so that trying again makes no half lines and
   * no doubles.
   *
   * @throws the system's error (ENOSPC and the like).
   */
  async append(data: Buffer): Promise<void> {
    await this.#reopenIfMoved();
    if (this.#file === undefined) await this.open();
    if (this.#isDue(data.length)) await this.#rotate();
    const file = this.#file!;
    const before = this.#size;
    try {
      for (let done = 0; done < data.length; ) {
        const { bytesWritten } = await file.write(data, done, data.length - done);
        done += bytesWritten;
        this.#size += bytesWritten;
      }
      if (this.#options.fsync) await file.datasync();
    } catch (error) {
      await file.truncate(before).then(
        () => {
          this.#size = before;
        },
        () => {},
      );
      throw error;
    }
  }

  /** Closes the file. Twice is safe. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #reopenIfMoved(): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (this.#file === undefined || now - this.#checkedAtMs < checkEveryMs) return;
    this.#checkedAtMs = now;
    const there = await stat(this.#options.path).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (there?.ino === this.#inode && there.dev === this.#device) {
      // Somebody may have cut it (`copytruncate`).
      this.#size = there.size;
      return;
    }
    await this.close();
  }

  #isDue(bytes: number): boolean {
    const { maxBytes, intervalMs } = this.#options;
    if (this.#size === 0) return false;
    if (maxBytes > 0 && this.#size + bytes > maxBytes) return true;
    return intervalMs > 0 && this.#clock.nowMs() - this.#bornMs >= intervalMs;
  }

  async #rotate(): Promise<void> {
    const { path } = this.#options;
    await this.close();
    await rename(path, await this.#backupName());
    this.rotations++;
    await this.open();
    await this.#prune();
  }

  /** `events.log` → `events-2026-01-02T03-04-05.678Z.log`, which sorts by time; a number behind it where that is taken. */
  async #backupName(): Promise<string> {
    const { path } = this.#options;
    const extension = extname(path);
    const stem = join(dirname(path), basename(path, extension));
    const time = new Date(this.#clock.nowMs()).toISOString().replaceAll(':', '-');
    for (let n = 0; ; n++) {
      const name = `${stem}-${time}${n === 0 ? '' : `.${n}`}${extension}`;
      const taken = await stat(name).then(
        () => true,
        () => false,
      );
      if (!taken) return name;
    }
  }

  async #prune(): Promise<void> {
    const { path, maxBackups, maxAgeMs } = this.#options;
    if (maxBackups === 0 && maxAgeMs === 0) return;
    const extension = extname(path);
    const prefix = `${basename(path, extension)}-`;
    const pattern = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z(\.\d+)?$/;
    const backups = (await readdir(dirname(path)))
      .filter((n) => n.startsWith(prefix) && n.endsWith(extension))
      .filter((n) => pattern.test(n.slice(prefix.length, n.length - extension.length)))
      .sort(byBackupTime)
      .reverse();
    const oldest = this.#clock.nowMs() - maxAgeMs;
    for (const [i, name] of backups.entries()) {
      const file = join(dirname(path), name);
      const tooMany = maxBackups > 0 && i >= maxBackups;
      const tooOld = maxAgeMs > 0 && backupTime(name.slice(prefix.length)) < oldest;
      if (tooMany || tooOld) await unlink(file).catch(() => {});
    }
  }
}

function byBackupTime(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** Unix ms of `2026-01-02T03-04-05.678Z…`. */
function backupTime(text: string): number {
  const m = /^(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d\.\d{3})Z/.exec(text);
  return m ? Date.parse(`${m[1]}T${m[2]}:${m[3]}:${m[4]}Z`) : Number.NaN;
}
