import biolatency from './biolatency.ts';
import dns from './dns.ts';
import flow from './flow.ts';
import kernellatency from './kernellatency.ts';
import listen from './listen.ts';
import netiftxlat from './netiftxlat.ts';
import packetloss from './packetloss.ts';
import type { ProbeDefinition } from './probe.ts';
import socketlatency from './socketlatency.ts';
import softirq from './softirq.ts';
import tasklatency from './tasklatency.ts';
import tcpconnect from './tcpconnect.ts';
import tcpreset from './tcpreset.ts';
import tcpretrans from './tcpretrans.ts';
import tcprtt from './tcprtt.ts';
import udp from './udp.ts';
import virtcmdlatency from './virtcmdlatency.ts';

/** All probes, in the order they are loaded and shown. Adding one = its file, and a line here. */
export const probes: readonly ProbeDefinition[] = [
  packetloss,
  tcpreset,
  tcpretrans,
  tcpconnect,
  udp,
  listen,
  tcprtt,
  softirq,
  netiftxlat,
  biolatency,
  tasklatency,
  virtcmdlatency,
  socketlatency,
  dns,
  kernellatency,
  flow,
];
