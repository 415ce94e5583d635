import type { KernelTypes } from '../../host/symbols/kernel-types.ts';

/** Value → `TCP_ESTABLISHED`, from the running kernel (an enum without a name in include/net/tcp_states.h). */
export function tcpStates(types: KernelTypes): ReadonlyMap<number, string> {
  const names = types.enumNamesWith('TCP_ESTABLISHED') ?? new Map<number, string>();
  return new Map([...names].filter(([, name]) => name !== 'TCP_MAX_STATES'));
}
