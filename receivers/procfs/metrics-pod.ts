import { defineMetrics } from '../../pipeline/catalogue.ts';

/** Catalogue of the scrapers fd, io, psi and sched: what the processes of a pod do, by cgroup. */

export const fdMetrics = defineMetrics({
  'skoop.fd.open': {
    instrument: 'updowncounter',
    unit: '{file_descriptor}',
    description: 'Open file descriptors of all processes of a pod; on the node: of all processes outside of pods.',
    source: '/proc/<pid>/fd',
    scope: 'pod',
    kubeskoop: [{ name: 'kubeskoop_fd_openfd', type: 'gauge' }],
  },
  'skoop.fd.sockets': {
    instrument: 'updowncounter',
    unit: '{file_descriptor}',
    description: 'Open file descriptors that are sockets.',
    source: '/proc/<pid>/fd links to socket:',
    scope: 'pod',
    kubeskoop: [{ name: 'kubeskoop_fd_opensocket', type: 'gauge' }],
  },
  'skoop.fd.limit_utilization': {
    instrument: 'gauge',
    unit: '1',
    description:
      'Open file descriptors ÷ soft limit of the process that is nearest to its limit: at 1 accept() and open() fail.',
    source: '/proc/<pid>/fd ÷ /proc/<pid>/limits Max open files',
    scope: 'pod',
  },
});

const io = {
  instrument: 'counter',
  attributes: { 'disk.io.direction': { description: 'Read or written.', values: ['read', 'write'] } },
  scope: 'pod',
  maxSeries: 2,
} as const;
const read = { 'disk.io.direction': 'read' };
const write = { 'disk.io.direction': 'write' };

export const ioMetrics = defineMetrics({
  'skoop.io.syscalls': {
    ...io,
    unit: '{call}',
    description: 'Calls of read() and write() and their like by the processes of a pod, sockets included.',
    source: '/proc/<pid>/io syscr, syscw',
    kubeskoop: [
      { name: 'kubeskoop_io_readsyscall', where: read },
      { name: 'kubeskoop_io_writesyscall', where: write },
    ],
  },
  'skoop.io.transferred': {
    ...io,
    unit: 'By',
    description: 'Bytes that went through those calls, whether from disk, cache, pipe or socket.',
    source: '/proc/<pid>/io rchar, wchar',
  },
  'skoop.io.disk': {
    ...io,
    unit: 'By',
    description: 'Bytes read from and written to block devices.',
    source: '/proc/<pid>/io read_bytes, write_bytes',
    kubeskoop: [
      { name: 'kubeskoop_io_readbytes', where: read },
      { name: 'kubeskoop_io_writebytes', where: write },
    ],
  },
});

export const psiMetrics = defineMetrics({
  'skoop.psi.stalled': {
    instrument: 'counter',
    unit: 's',
    description: 'Time in which some (or all) tasks of a pod, or of the node, waited for a resource.',
    attributes: {
      'skoop.psi.resource': { description: 'What they waited for.', values: ['cpu', 'memory', 'io', 'irq'] },
      'skoop.psi.kind': { description: 'At least one task waited, or all did.', values: ['some', 'full'] },
    },
    source: 'cgroup v2 {cpu,memory,io,irq}.pressure, /proc/pressure',
    scope: 'pod',
    maxSeries: 8,
  },
});

export const schedMetrics = defineMetrics({
  'skoop.sched.run_delay': {
    instrument: 'counter',
    unit: 's',
    description: 'Time the threads of a pod were ready to run and waited for a CPU.',
    source: '/proc/<pid>/task/<tid>/schedstat, second number',
    scope: 'pod',
  },
  'skoop.sched.cpu_time': {
    instrument: 'counter',
    unit: 's',
    description: 'CPU time of a pod.',
    source: 'cgroup v2 cpu.stat usage_usec, v1 cpuacct.usage',
    scope: 'pod',
  },
  'skoop.sched.periods': {
    instrument: 'counter',
    unit: '{period}',
    description: 'Periods of the CPU limit in which a pod ran.',
    source: 'cgroup cpu.stat nr_periods',
    scope: 'pod',
  },
  'skoop.sched.throttled_periods': {
    instrument: 'counter',
    unit: '{period}',
    description: 'Periods in which the CPU limit stopped a pod.',
    source: 'cgroup cpu.stat nr_throttled',
    scope: 'pod',
  },
  'skoop.sched.throttled': {
    instrument: 'counter',
    unit: 's',
    description: 'Time for which the CPU limit stopped a pod, summed over CPUs.',
    source: 'cgroup v2 cpu.stat throttled_usec, v1 throttled_time',
    scope: 'pod',
  },
});
