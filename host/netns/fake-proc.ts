import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProcRoot } from '../proc-root.ts';
import type { NetnsInfo } from './inventory.ts';

interface Process {
  readonly netns: number;
  readonly cgroup?: string;
  readonly comm?: string;
  readonly starttime?: number;
  readonly kernelThread?: boolean;
}

/** A machine in a folder, for tests: processes come, go and change. */
export class FakeProc {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'skl-fakeproc-'));
  readonly root: ProcRoot;

  constructor() {
    mkdirSync(join(this.folder, 'proc'));
    mkdirSync(join(this.folder, 'run/netns'), { recursive: true });
    this.root = new ProcRoot({
      proc: join(this.folder, 'proc'),
      sys: join(this.folder, 'sys'),
      run: join(this.folder, 'run'),
    });
  }

  /** Makes a process, or replaces it by a new one with the same pid. */
  start(pid: number, p: Process): void {
    const directory = this.root.proc(pid);
    // Made aside and moved, so that it gets another inode than the one it replaces.
    const fresh = `${directory}.new`;
    mkdirSync(join(fresh, 'ns'), { recursive: true });
    symlinkSync(`net:[${p.netns}]`, join(fresh, 'ns/net'));
    const zeros = (count: number) => '0 '.repeat(count);
    const flags = p.kernelThread ? 0x20_0000 : 0;
    const stat = `S ${zeros(5)}${flags} ${zeros(12)}${p.starttime ?? 1000 + pid}`;
    writeFileSync(join(fresh, 'stat'), `${pid} (${p.comm ?? 'app'}) ${stat} 0 0\n`);
    writeFileSync(join(fresh, 'cgroup'), `0::${p.cgroup ?? '/'}\n`);
    if (existsSync(directory)) rmSync(directory, { recursive: true });
    renameSync(fresh, directory);
  }

  end(pid: number): void {
    rmSync(this.root.proc(pid), { recursive: true });
  }

  /** Changes the cgroup of a living process. */
  move(pid: number, cgroup: string): void {
    writeFileSync(this.root.proc(pid, 'cgroup'), `0::${cgroup}\n`);
  }

  /** `ip netns add`. */
  name(name: string, netns: number): void {
    symlinkSync(`net:[${netns}]`, this.root.run('netns', name));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** A namespace as the inventory would tell of it, for tests. */
export function fakeNetns(netns: number, patch: Partial<NetnsInfo> = {}): NetnsInfo {
  return {
    netns,
    life: 1,
    host: false,
    path: '',
    pids: [],
    podUids: [],
    containerIds: [],
    firstSeenMs: 0,
    ...patch,
  };
}
