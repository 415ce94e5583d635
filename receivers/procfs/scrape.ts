import type { DenialKind } from '../../host/denials.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import type { Reject } from './lines.ts';
import type { Enabled } from './series.ts';

/** What every scraper of a receiver works with. */
export interface ScrapeContext {
  readonly root: ProcRoot;
  readonly enabled: Enabled;
  readonly reject: Reject;
  /** Runs a reading; undefined, and said once, where this process may not read it (EACCES, EPERM) or the kernel does not do it (EOPNOTSUPP). */
  readonly permitted: <T>(what: DenialKind | 'psi', read: () => T) => T | undefined;
  /** When the machine was started, Unix epoch ms; NaN when it does not say. */
  readonly bootTimeMs: number;
}

/** Clock ticks of /proc/PID/stat in a second: USER_HZ is 100 on every architecture in use. */
const ticksPerSecond = 100;

/** When a process began, Unix epoch ms. */
export function processBirthMs(bootTimeMs: number, starttime: number): number {
  return bootTimeMs + (starttime / ticksPerSecond) * 1000;
}

/** `btime` of /proc/stat in ms; NaN when it is not there. */
export function bootTimeMs(root: ProcRoot): number {
  const text = root.tryReadText(root.proc('stat')) ?? '';
  const found = /^btime (\d+)$/m.exec(text);
  return found ? Number(found[1]) * 1000 : Number.NaN;
}
