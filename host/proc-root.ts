import { closeSync, openSync, promises, readdirSync, readlinkSync, readSync, statfsSync, statSync } from 'node:fs';
import { errnoOf } from '../pipeline/errors.ts';

/** Where the kernel's file systems are. Defaults: this machine's own. */
export interface ProcRootOptions {
  /** Mount point of procfs. Default `/proc`. */
  readonly proc?: string;
  /** Mount point of sysfs. Default `/sys`. */
  readonly sys?: string;
  /** Where named network namespaces are bind-mounted (`netns/` below it). Default `/run`. */
  readonly run?: string;
}

/** Errors that mean "not there (any more)": no such file, process gone, field not readable for this process. */
const goneCodes: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'EINVAL', 'ENOTDIR']);

/** True for the errors of a file or process that ended or never was; normal while `/proc` is being read. */
export function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code !== undefined && goneCodes.has(code);
}

/** True for the errors of what is there and may not be read. */
export function isDenied(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** `NSFS_MAGIC` of include/uapi/linux/magic.h: the file system of namespace files. */
const nsfsMagic = 0x6e736673;

/** How the kernel prints a file; see {@link ProcRoot.read}. */
export type FileShape = 'any' | 'record';

/** Enough for nearly every file: a record that does not fit costs more reads. */
const firstBytes = 64 * 1024;
/** Most of the read buffer that outlives a read: kernel symbols and BTF are megabytes, read once. */
const keptBytes = 256 * 1024;

/** The kernel makes a buffer as large as the read for files of /proc/sys and refuses one of 4 MiB (ENOMEM, proc_sys_call_handler). */
const longestRead = 1 << 20;

/**
 * The only way to `/proc` and `/sys`, so that a folder with a captured host is a test. Paths given to the reading methods are
 * complete paths, made by {@link proc}, {@link sys} and {@link run}.
 *
 * One instance serves one thread: {@link read} reuses one buffer.
 */
export class ProcRoot {
  readonly procPath: string;
  readonly sysPath: string;
  readonly runPath: string;
  #buffer = Buffer.allocUnsafeSlow(firstBytes);

  constructor(options: ProcRootOptions = {}) {
    this.procPath = options.proc ?? '/proc';
    this.sysPath = options.sys ?? '/sys';
    this.runPath = options.run ?? '/run';
  }

  /** Path below procfs: `proc(pid, 'net/snmp')`. */
  proc(...parts: readonly (string | number)[]): string {
    return `${this.procPath}/${parts.join('/')}`;
  }

  /** Path below sysfs: `sys('class/net', name, 'mtu')`. */
  sys(...parts: readonly (string | number)[]): string {
    return `${this.sysPath}/${parts.join('/')}`;
  }

  /** Path below the run directory: `run('netns', name)`. */
  run(...parts: readonly (string | number)[]): string {
    return `${this.runPath}/${parts.join('/')}`;
  }

  /**
   * The whole file, in a buffer that the next `read` overwrites: parse it at once or copy it. No `stat` is made (procfs files say
   * size 0); small files cost open, two reads, close.
   *
   * @param shape `record`: the kernel prints this file in one piece (single_open(), ONE() of fs/proc/base.c, kernfs), as it does
   *              net/snmp, PID/stat and the files of a cgroup, but not net/dev. Then seq_read_iter() of fs/seq_file.c gives all of it to
   *              the first read that has room, and the second read, which would say that this was the end, is left out.
   * @throws the system's error with its errno name in `code`.
   */
  read(path: string, shape: FileShape = 'any'): Buffer {
    if (this.#buffer.length > keptBytes) this.#buffer = Buffer.allocUnsafeSlow(firstBytes);
    const fd = openSync(path, 'r');
    try {
      let length = 0;
      for (;;) {
        if (length === this.#buffer.length) this.#grow();
        const room = Math.min(this.#buffer.length - length, longestRead);
        const n = readSync(fd, this.#buffer, length, room, null);
        length += n;
        if (n === 0 || (shape === 'record' && n < room)) return this.#buffer.subarray(0, length);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** The whole file as text (latin1-safe: kernel files are ASCII; names in them may be any bytes, read as UTF-8). */
  readText(path: string, shape: FileShape = 'any'): string {
    return this.read(path, shape).toString('utf8');
  }

  /** As {@link read}, undefined when the file or the process is gone (ENOENT, ESRCH, EINVAL). Other errors throw. */
  tryRead(path: string, shape: FileShape = 'any'): Buffer | undefined {
    try {
      return this.read(path, shape);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** As {@link readText}, undefined when the file or the process is gone. */
  tryReadText(path: string, shape: FileShape = 'any'): string | undefined {
    return this.tryRead(path, shape)?.toString('utf8');
  }

  /** Names in a directory, as the kernel orders them; empty when it is gone. */
  list(path: string): string[] {
    try {
      return readdirSync(path);
    } catch (error) {
      if (isGone(error)) return [];
      throw error;
    }
  }

  /** As {@link list}, with the kernel's work in a pool thread: for directories with thousands of entries. */
  async listAsync(path: string): Promise<string[]> {
    try {
      return await promises.readdir(path);
    } catch (error) {
      if (isGone(error)) return [];
      throw error;
    }
  }

  /** Target of a symbolic link; undefined when it is gone or not ours to read (another user's process). */
  readlink(path: string): string | undefined {
    try {
      return readlinkSync(path);
    } catch (error) {
      if (isGone(error) || isDenied(error)) return undefined;
      throw error;
    }
  }

  /** Whether a symbolic link is there and not ours to read: another user's process, or one with more rights. */
  isDenied(path: string): boolean {
    try {
      readlinkSync(path);
      return false;
    } catch (error) {
      return isDenied(error);
    }
  }

  /** Inode number of what the path leads to; undefined when it is gone. */
  statInode(path: string): number | undefined {
    try {
      return statSync(path, { throwIfNoEntry: false })?.ino;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /**
   * Inode of the network namespace a file stands for: `/proc/PID/ns/net`, or a bind mount under `/run/netns`. Undefined when it is
   * gone or is a plain file (a bind mount made in another mount namespace leaves one: its inode means nothing).
   * In captured trees both are symbolic links to `net:[INODE]`.
   */
  netnsInode(path: string): number | undefined {
    const viaLink = parseNetnsLink(this.readlink(path));
    if (viaLink !== undefined) return viaLink;
    try {
      return statfsSync(path).type === nsfsMagic ? this.statInode(path) : undefined;
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  #grow(): void {
    const bigger = Buffer.allocUnsafeSlow(this.#buffer.length * 2);
    this.#buffer.copy(bigger);
    this.#buffer = bigger;
  }
}

/** `net:[4026531840]` → 4026531840; undefined for anything else. */
export function parseNetnsLink(target: string | undefined): number | undefined {
  if (target === undefined || !target.startsWith('net:[') || !target.endsWith(']')) return undefined;
  const inode = Number(target.slice(5, -1));
  return Number.isSafeInteger(inode) && inode > 0 ? inode : undefined;
}

/** This machine. */
export const hostRoot: ProcRoot = new ProcRoot();
