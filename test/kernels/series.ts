/**
 * The kernels that the BPF lane runs on beside the machine's own: what Debian 12 ships (the oldest that is supported) and what
 * Debian 13 ships, which Debian 12 has as a backport.
 */
export const testedSeries = ['6.1', '6.12'] as const;
