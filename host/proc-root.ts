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

/** `NSFS_MAGIC` of include/uapi/linux/magic.h: the file system of namespace files. */
const nsfsMagic = 0x6e736673;

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
  #buffer = Buffer.allocUnsafeSlow(64 * 1024);

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
   * @throws the system's error with its errno name in `code`.
   */
  read(path: string): Buffer {
    const fd = openSync(path, 'r');
    try {
      let length = 0;
      for (;;) {
        if (length === this.#buffer.length) this.#grow();
        const room = Math.min(this.#buffer.length - length, longestRead);
        const n = readSync(fd, this.#buffer, length, room, null);
        if (n === 0) return this.#buffer.subarray(0, length);
        length += n;
      }
    } finally {
      closeSync(fd);
    }
  }

  /** The whole file as text (latin1-safe: kernel files are ASCII; names in them may be any bytes, read as UTF-8). */
  readText(path: string): string {
    return this.read(path).toString('utf8');
  }

  /** As {@link read}, undefined when the file or the process is gone (ENOENT, ESRCH, EINVAL). Other errors throw. */
  tryRead(path: string): Buffer | undefined {
    try {
      return this.read(path);
    } catch (error) {
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  /** As {@link readText}, undefined when the file or the process is gone. */
  tryReadText(path: string): string | undefined {
    return this.tryRead(path)?.toString('utf8');
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
      const code = errnoOf(error);
      if (isGone(error) || code === 'EACCES' || code === 'EPERM') return undefined;
      throw error;
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
