import { z } from 'zod';
import * as layout from '../../bpf/gen/selftest.gen.ts';
import { Kernel } from '../../bpf/kernel.ts';
import { type LoadedProbe, type LoadOptions, loadProbe } from '../../bpf/loader.ts';
import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';
import type { ProbeConfig, ProbeDefinition } from '../../receivers/ebpf/probe.ts';
import { defineProbe, probeFields } from '../../receivers/ebpf/probe.ts';

/** The object of bpf/selftest.bpf.c, whose programs are run by hand. */
export class SelfTest implements Disposable {
  readonly loaded: LoadedProbe;

  constructor(loaded: LoadedProbe) {
    this.loaded = loaded;
  }

  static async load(options: LoadOptions = {}): Promise<SelfTest> {
    const kernel = await Kernel.probe();
    return new SelfTest(loadProbe({ object: 'selftest', layoutHash: layout.layoutHash, hooks }, kernel, options));
  }

  /** Writes numbered records into `skl_gen_ring`. @returns how many found room */
  generate(seq: number, want: number, size: 0 | 64 | 128 | 256, noWakeup = false): number {
    const at = layout.selftestGenerate.offsets;
    const context = Buffer.alloc(layout.selftestGenerate.size);
    context.writeBigUInt64LE(BigInt(seq), at['seq']);
    context.writeUInt32LE(want, at['want']);
    context.writeUInt32LE(size, at['size']);
    context.writeUInt32LE(noWakeup ? 1 : 0, at['flags']);
    this.loaded.program('skl_generate').testRun(context);
    return context.readUInt32LE(at['done']);
  }

  /** Offers `want` events of `owners` namespaces in turn, through skl_reserve. */
  emit(owner: { cookie: number; netns: number; owners?: number }, want: number, type = 0): void {
    emitWith(this.loaded, owner, want, type);
  }

  /** Adds one duration to skl_self_hist. @returns its bucket */
  observe(ns: bigint, netns: number): number {
    const at = layout.selftestObserve.offsets;
    const context = Buffer.alloc(layout.selftestObserve.size);
    context.writeBigUInt64LE(ns, at['ns']);
    context.writeBigUInt64LE(BigInt(netns), at['cookie']);
    context.writeUInt32LE(netns, at['netns']);
    this.loaded.program('skl_measure').testRun(context);
    return context.readUInt32LE(at['bucket']);
  }

  [Symbol.dispose](): void {
    this.loaded.close();
  }
}

export function emitWith(
  loaded: LoadedProbe,
  owner: { cookie: number; netns: number; owners?: number },
  want: number,
  type = 0,
): void {
  const at = layout.selftestEmit.offsets;
  const context = Buffer.alloc(layout.selftestEmit.size);
  context.writeBigUInt64LE(BigInt(owner.cookie), at['cookie']);
  context.writeUInt32LE(owner.netns, at['netns']);
  context.writeUInt32LE(owner.owners ?? 1, at['owners']);
  context.writeUInt32LE(want, at['want']);
  context.writeUInt32LE(type, at['type']);
  loaded.program('skl_emit').testRun(context);
}

const programs = ['skl_generate', 'skl_emit', 'skl_measure', 'skl_pass', 'skl_make_fault'];
const hooks = [
  { name: 'all', purpose: 'self-test', required: true, choices: [{ programs, manual: true }] },
  // x86 only: attached by the test that needs it.
  { name: 'fault', purpose: 'self-test', required: false, choices: [{ programs: ['skl_fault'], manual: true }] },
];

export const selfMetrics = defineMetrics({
  'test.count': { instrument: 'counter', unit: '1', description: 'Test.', source: 'test', scope: 'netns' },
});
export const selfEvents = defineEvents({ 'test.event': { description: 'Test.', source: 'test', attributes: {} } });

/** A probe made of the self-test object: `onLoaded` gets hold of it, to run its programs under the real receiver's machinery. */
export function selfTestProbe(onLoaded: (loaded: LoadedProbe) => void): ProbeDefinition {
  const config = z.strictObject(probeFields({ rate: 0 }));
  return defineProbe<ProbeConfig>({
    name: 'selftest',
    summary: 'Test.',
    stability: 'development',
    layout,
    hooks,
    config,
    metrics: Object.values(selfMetrics),
    events: Object.values(selfEvents),
    eventTypes: ['zero', 'one'],
    records: [layout.selftestEvent, layout.selftestEvent],
    create: () => {
      let own: LoadedProbe | undefined;
      return {
        load: { knobs: { skl_self_pid: process.pid } },
        loaded: (loaded) => {
          own = loaded;
          onLoaded(loaded);
        },
        decode: (view, at) => {
          const e = layout.selftestEvent.decode(view, at);
          return { event: selfEvents['test.event'], severity: 9, body: 'Test.', attributes: { seq: e.seq } };
        },
        collect: (out) => {
          const series = out.series(selfMetrics['test.count'], {});
          if (own) out.counters(own.map('skl_self_count'), layout.sklSelfKey, () => series);
        },
      };
    },
  });
}
