import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';
import { metrics } from './metrics.ts';

const enabled = { enabled: z.boolean().default(true).describe('Whether to read it.') };
const scraper = (what: string) => z.strictObject(enabled).prefault({}).describe(what);

const patterns = (fallback: readonly string[], what: string) =>
  z
    .array(z.string().min(1))
    .default([...fallback])
    .describe(what);

/** Config of `receivers.procfs`. Durations in ms. */
export const config = z.strictObject({
  collection_interval: duration('15s').describe('Time between two collections.'),
  initial_delay: duration('1s').describe('Wait before the first one.'),
  root_path: z
    .string()
    .default('')
    .describe(
      'Where the host’s file systems are mounted, as in hostmetrics: /host reads /host/proc, /host/sys and /host/run.',
    ),
  scrapers: z
    .strictObject({
      netdev: z
        .strictObject({
          ...enabled,
          include: patterns(['*'], 'Interfaces to read; * stands for anything.'),
          exclude: patterns(['lo'], 'Interfaces to leave out, in every namespace.'),
          host_exclude: patterns(
            ['veth*', 'cali*', 'lxc*', 'azv*', 'eni*', 'gke*', 'nodelocaldns', 'kube-ipvs*'],
            'Interfaces to leave out in the node’s own namespace: the far ends of pods, which the pods show already.',
          ),
          max_interfaces: z.number().int().positive().default(256).describe('Most interfaces of one namespace.'),
        })
        .prefault({})
        .describe('Interfaces, from net/dev.'),
      tcp: scraper('TCP, from net/snmp.'),
      udp: scraper('UDP and UDP-Lite, from net/snmp and net/snmp6.'),
      ip: scraper('IP, from net/snmp, net/snmp6 and net/netstat.'),
      icmp: scraper('ICMP, from net/snmp and net/snmp6.'),
      tcpext: scraper('Linux’s own TCP and MPTCP counters, from net/netstat.'),
      sock: scraper('Sockets and their memory, from net/sockstat and net/sockstat6.'),
      softnet: z
        .strictObject({
          ...enabled,
          per_cpu: z.boolean().default(false).describe('A series for each CPU instead of one for the node.'),
        })
        .prefault({})
        .describe('The receive side of all interfaces, from net/softnet_stat.'),
      tcpsummary: z
        .strictObject({
          ...enabled,
          max_listeners: z
            .number()
            .int()
            .positive()
            .default(32)
            .describe('Most listeners of one namespace; the rest is summed.'),
        })
        .prefault({})
        .describe('TCP sockets by state, queues and listeners, from sock_diag.'),
      fd: scraper('File descriptors of pods, from /proc/PID/fd.'),
      io: scraper('Reads and writes of pods, from /proc/PID/io.'),
      ipvs: z
        .strictObject({
          ...enabled,
          max_destinations: z
            .number()
            .int()
            .positive()
            .default(500)
            .describe('Most real servers with a series; the rest is summed.'),
        })
        .prefault({})
        .describe('IPVS, from net/ip_vs_stats and net/ip_vs.'),
      psi: scraper('Pressure stall information of pods and of the node.'),
      sched: scraper('Run delay and throttling of pods.'),
    })
    .prefault({})
    .describe('What is read. All are on.'),
  metrics: z
    .record(z.string(), z.strictObject({ enabled: z.boolean().describe('Whether it is exported.') }))
    .default({})
    .describe('Metrics to switch on or off by name, whatever their default.'),
});

export type ProcfsConfig = z.output<typeof config>;

const names: ReadonlySet<string> = new Set(metrics.map((m) => m.name));

/** A name under `metrics` must be one of ours. */
export function check(parsed: ProcfsConfig) {
  return Object.keys(parsed.metrics)
    .filter((name) => !names.has(name))
    .map((name) => ({ path: ['metrics', name], message: `procfs has no metric named '${name}'` }));
}
