import { z } from 'zod';
import { bytes, duration } from '../../pipeline/fields.ts';
import type { ProbeConfig } from './probe.ts';
import { probes } from './probes.ts';

const aliases = new Map(probes.flatMap((p) => (p.aliases ?? []).map((a) => [a, p.name] as const)));

/** Other spellings become the probe's name; an empty section (`packetloss:`) becomes its defaults. */
function normalize(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value ?? {};
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [aliases.get(k) ?? k, v ?? {}]));
}

const probeSections = Object.fromEntries(probes.map((p) => [p.name, p.config.prefault({}).describe(p.summary)]));

export const ebpfConfig = z.strictObject({
  collection_interval: duration('15s').describe("Time between two readings of the probes' maps."),
  ring_size: bytes('2MiB').describe(
    'Ring buffer for events, shared by all probes; rounded up to a power of two of pages.',
  ),
  advice: z.boolean().default(false).describe('Attach to each event what usually causes it and what to look at next.'),
  probes: z
    .preprocess(normalize, z.strictObject(probeSections))
    .prefault({})
    .describe('Sections of the probes; a probe that is not named has its defaults.'),
});

export interface EbpfConfig {
  /** ms */
  readonly collection_interval: number;
  /** bytes */
  readonly ring_size: number;
  readonly advice: boolean;
  readonly probes: Readonly<Record<string, ProbeConfig>>;
}
