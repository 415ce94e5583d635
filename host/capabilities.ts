import type { ProcRoot } from './proc-root.ts';

/** Numbers of include/uapi/linux/capability.h: those that anything here may need. */
const numbers = {
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYSLOG: 34,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof numbers;

/** @param status text of /proc/self/status. @returns whether the process has it in effect. */
export function effectiveCapabilities(status: string): (capability: Capability) => boolean {
  const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  const bits = BigInt(`0x${digits}`);
  return (capability) => ((bits >> BigInt(numbers[capability])) & 1n) === 1n;
}

/** Those of the given ones that this process lacks. */
export function missingCapabilities(root: ProcRoot, wanted: readonly Capability[]): readonly Capability[] {
  const has = effectiveCapabilities(root.tryReadText(root.proc('self/status')) ?? '');
  return wanted.filter((c) => !has(c));
}
