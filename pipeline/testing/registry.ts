import { EMPTY, map } from 'rxjs';
import { z } from 'zod';
import { type ComponentRegistry, defineExporter, defineProcessor, defineReceiver } from '../component.ts';
import { bytes, duration } from '../fields.ts';
import { queueFields } from '../queue/config.ts';

/** Components that exist for the tests of the engine alone, with one of each kind of config field. */

const probes = z.strictObject({
  probes: z
    .array(z.enum(['packetloss', 'tcpreset']))
    .default(['packetloss'])
    .describe('Which probes run.'),
  collection_interval: duration('15s').describe('Time between collections.'),
  ring_buffer: bytes('4MiB').describe('Size of the ring buffer.'),
  limit: z.number().int().min(1).max(1000).default(100).describe('Events a second.'),
  enabled: z.boolean().default(true).describe('On or off.'),
  thresholds: z
    .strictObject({
      warn: z.number().default(1).describe('Warning threshold.'),
      crit: z.number().default(2).describe('Critical threshold.'),
    })
    .prefault({})
    .describe('Thresholds.'),
  labels: z.record(z.string(), z.string()).default({}).describe('Labels.'),
});

const ebpf = defineReceiver({
  type: 'ebpf',
  summary: 'Test receiver.',
  stability: 'development',
  signals: ['metrics', 'logs'],
  config: probes,
  check: (c) =>
    c.thresholds.crit < c.thresholds.warn
      ? [{ path: ['thresholds', 'crit'], message: `must not be below warn (${c.thresholds.warn})` }]
      : [],
  create: () => ({ run: () => EMPTY }),
});

const logsOnly = defineReceiver({
  type: 'journal',
  summary: 'Test receiver of logs.',
  stability: 'development',
  signals: ['logs'],
  config: z.strictObject({ path: z.string().describe('File.') }),
  create: () => ({ run: () => EMPTY }),
});

const batch = defineProcessor({
  type: 'batch',
  summary: 'Test processor.',
  stability: 'development',
  config: z.strictObject({
    timeout: duration('1s').describe('Longest wait.'),
    size: z.number().int().positive().default(8192).describe('Items.'),
  }),
  create: () => map((b) => b),
});

const otlp = defineExporter({
  type: 'otlp',
  summary: 'Test exporter.',
  stability: 'development',
  signals: ['metrics', 'logs'],
  config: z.strictObject({
    endpoint: z.url({ error: 'expected a URL such as http://collector:4318' }).describe('Where to.'),
    compression: z.enum(['gzip', 'zstd', 'none']).default('gzip').describe('Compression.'),
    password: z.string().optional().describe('Password.'),
    auth: z
      .union([
        z.strictObject({ bearer: z.string().describe('Token.') }),
        z.strictObject({ user: z.string().describe('User.'), password: z.string().describe('Password.') }),
      ])
      .optional()
      .describe('Credentials.'),
    ...queueFields,
  }),
  queue: (c) => c,
  check: (c) =>
    c.sending_queue.storage === 'disk' && !c.sending_queue.directory
      ? [{ path: ['sending_queue', 'directory'], message: 'needed for storage: disk' }]
      : [],
  create: () => ({ push: async () => {} }),
});

const prometheus = defineExporter({
  type: 'prometheus',
  summary: 'Test exporter of metrics.',
  stability: 'development',
  signals: ['metrics'],
  config: z.strictObject({
    endpoint: z.string().default('0.0.0.0:9464').describe('Where to listen.'),
    port: z.number().int().min(0).max(65_535).default(9464).describe('Port.'),
  }),
  create: () => ({ push: async () => {} }),
});

export const registry: ComponentRegistry = {
  receivers: {
    ebpf: async () => ({ default: ebpf }),
    journal: async () => ({ default: logsOnly }),
    unloadable: async () => {
      throw new Error('Cannot find module');
    },
  },
  processors: { batch: async () => ({ default: batch }) },
  exporters: { otlp: async () => ({ default: otlp }), prometheus: async () => ({ default: prometheus }) },
};
