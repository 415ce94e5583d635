export interface PidStat {
  readonly comm: string;
  readonly state: string;
  /** Field 22, clock ticks since boot. */
  readonly starttime: number;
  /** `PF_KTHREAD` of field 9. */
  readonly kernelThread: boolean;
}

/** include/linux/sched.h; the same bit since Linux 2.6.27. */
const PF_KTHREAD = 0x0020_0000;

/**
 * Reads `/proc/PID/stat` (proc_pid_stat(5)). The name is whatever stands between the first `(` and the last `)`: it may hold spaces
 * and parentheses. Undefined when the text is not such a line.
 */
export function parsePidStat(text: Buffer | undefined): PidStat | undefined {
  if (text === undefined) return undefined;
  const open = text.indexOf(0x28);
  const close = text.lastIndexOf(0x29);
  if (open < 0 || close <= open) return undefined;
  const fields = text.toString('latin1', close + 2).split(' ');
  // fields[0] is field 3 (state); flags is field 9, starttime field 22.
  const state = fields[0];
  const flags = Number(fields[6]);
  const start = fields[19];
  if (state === undefined || state === '' || start === undefined || !/^\d+$/.test(start)) return undefined;
  return {
    comm: text.toString('utf8', open + 1, close),
    state,
    starttime: Number(start),
    kernelThread: (flags & PF_KTHREAD) !== 0,
  };
}
