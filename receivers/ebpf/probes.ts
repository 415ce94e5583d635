import packetloss from './packetloss.ts';
import type { ProbeDefinition } from './probe.ts';
import tcpconnect from './tcpconnect.ts';

/** All probes, in the order they are loaded and shown. Adding one = its file, and a line here. */
export const probes: readonly ProbeDefinition[] = [packetloss, tcpconnect];
