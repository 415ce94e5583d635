import { setTimeout as wait } from 'node:timers/promises';
import { Kernel } from '../../bpf/kernel.ts';
import type { HookReport } from '../../bpf/loader.ts';
import { libbpf } from '../../host/bpf/libbpf.ts';
import { enableRunStats, type ProgramInfo, programInfo } from '../../host/bpf/stats.ts';
import { hostRoot } from '../../host/proc-root.ts';
import type { ComponentContext, DiagnoseOptions, Finding } from '../../pipeline/component.ts';
import { messageOf } from '../../pipeline/errors.ts';
import { ActiveProbe } from './active-probe.ts';
import type { EbpfConfig } from './config.ts';
import { probes } from './probes.ts';
import { SharedRing } from './ring.ts';

/** What the measuring itself adds to each run, ns: an empty program shows 29 to 32. */
const measuringNs = 30;

/** Cost of one program over the time watched. */
interface ProgramCost {
  readonly program: string;
  readonly section: string;
  readonly hits: number;
  /** Nanoseconds a hit, without the measuring; undefined when nothing hit it. */
  readonly nsPerHit: number | undefined;
}

function kernelFindings(kernel: Kernel): Finding[] {
  const { capabilities, release, lockdown, symbols, kprobes } = kernel;
  const { table } = symbols;
  const missing = [
    ...capabilities.missing,
    ...(capabilities.netAdmin ? [] : ['CAP_NET_ADMIN']),
    ...(capabilities.syslog || table.readable ? [] : ['CAP_SYSLOG']),
  ];
  return [
    {
      subject: 'kernel',
      status: lockdown === 'confidentiality' ? 'off' : 'ok',
      text: `Linux ${release} ${process.arch}, kprobes ${kprobes ? 'there' : 'not built in'}, lockdown ${lockdown}`,
      data: { release, arch: process.arch, kprobes, lockdown },
    },
    attempt('types (BTF)', () => {
      void kernel.types;
      return '/sys/kernel/btf/vmlinux is readable';
    }),
    {
      subject: 'capabilities',
      status: capabilities.bpf ? (missing.length === 0 ? 'ok' : 'partial') : 'off',
      text: missing.length === 0 ? 'all that are needed' : `missing: ${missing.join(', ')}`,
      data: { missing },
    },
    attempt('libbpf', () => libbpf().versionString()),
    {
      subject: 'symbols',
      status: table.readable ? 'ok' : 'partial',
      text: table.readable
        ? `${table.size} kernel functions`
        : '/proc/kallsyms shows no addresses: stacks and drop locations stay numbers',
      ...(table.readable ? {} : { notes: ['Needs CAP_SYSLOG, or kernel.kptr_restrict=0.'] }),
      data: { functions: table.size },
    },
    cgroupFinding(),
  ];
}

function attempt(subject: string, look: () => string): Finding {
  try {
    return { subject, status: 'ok', text: look() };
  } catch (error) {
    return { subject, status: 'off', text: messageOf(error) };
  }
}

function cgroupFinding(): Finding {
  const mounts = hostRoot.tryReadText(hostRoot.proc('self/mounts')) ?? '';
  const v2 = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
  const v1 = /^\S+ \S+ cgroup /m.test(mounts);
  const layout = v2 === undefined ? (v1 ? 'v1 only' : 'none') : v1 ? 'hybrid' : 'v2';
  return {
    subject: 'cgroups',
    status: v2 === undefined ? 'partial' : 'ok',
    text: `${layout}${v2 === undefined ? '' : `, version 2 at ${v2}`}`,
    ...(v2 === undefined ? { notes: ['Pods on the host network cannot be told apart by cgroup id.'] } : {}),
    data: { layout, v2 },
  };
}

/** Loads each probe as configured, lets it run for a while with the kernel's statistics on, and reports. */
class ProbeDoctor {
  readonly #config: EbpfConfig;
  readonly #context: ComponentContext;
  readonly #active = new Map<string, ActiveProbe>();
  readonly #failed = new Map<string, string>();

  constructor(config: EbpfConfig, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
  }

  async run(kernel: Kernel, seconds: number): Promise<Finding[]> {
    const ring = new SharedRing(this.#config.ring_size);
    try {
      this.#load(kernel, ring);
      const before = this.#infos();
      const { stop, whyNot } = startStats();
      await wait(seconds * 1000);
      stop();
      return this.#report(before, this.#infos(), whyNot);
    } finally {
      for (const probe of this.#active.values()) probe.close();
      ring.close();
    }
  }

  #load(kernel: Kernel, ring: SharedRing): void {
    const { telemetry, log, clock } = this.#context;
    for (const [index, definition] of probes.entries()) {
      const config = this.#config.probes[definition.name];
      if (!config?.enabled) continue;
      try {
        const env = { kernel, telemetry, log, clock, ringFd: ring.fd };
        this.#active.set(definition.name, new ActiveProbe(definition, config, index, env));
      } catch (error) {
        this.#failed.set(definition.name, messageOf(error));
      }
    }
  }

  #infos(): Map<string, ProgramInfo> {
    const out = new Map<string, ProgramInfo>();
    for (const [name, probe] of this.#active) {
      for (const p of probe.loaded.programs) out.set(`${name}/${p.name}`, programInfo(p.fd));
    }
    return out;
  }

  #costs(
    name: string,
    probe: ActiveProbe,
    before: Map<string, ProgramInfo>,
    after: Map<string, ProgramInfo>,
  ): ProgramCost[] {
    return probe.loaded.programs.map((p) => {
      const key = `${name}/${p.name}`;
      const hits = after.get(key)!.runs - before.get(key)!.runs;
      const ns = after.get(key)!.runTimeNs - before.get(key)!.runTimeNs;
      const nsPerHit = hits === 0 ? undefined : Math.max(0, Math.round(ns / hits - measuringNs));
      return { program: p.name, section: p.section, hits, nsPerHit };
    });
  }

  /** @param unmeasured why the kernel does not count runs and their time; undefined = it does */
  #report(
    before: Map<string, ProgramInfo>,
    after: Map<string, ProgramInfo>,
    unmeasured: string | undefined,
  ): Finding[] {
    return probes.map((definition): Finding => {
      const subject = `probe ${definition.name}`;
      const probe = this.#active.get(definition.name);
      const failure = this.#failed.get(definition.name);
      if (failure !== undefined) return { subject, status: 'off', text: failure };
      if (!probe) return { subject, status: 'off', text: 'switched off in the config' };
      const { hooks } = probe.loaded;
      const costs = this.#costs(definition.name, probe, before, after);
      const account = probe.account();
      return {
        subject,
        status: hooks.every((h) => h.sections !== undefined) ? 'ok' : 'partial',
        text: `${hooksText(hooks)}; ${unmeasured ?? costText(costs)}; events ${account.emitted} sent, ${account.suppressed} suppressed, ${account.lost} lost`,
        notes: hooks.flatMap(hookNotes),
        data: { hooks, costs, events: account },
      };
    });
  }
}

/** The kernel's statistics need CAP_SYS_ADMIN; the probes do not, and are shown without a cost where it is missing. */
function startStats(): { readonly stop: () => void; readonly whyNot?: string } {
  try {
    return { stop: enableRunStats() };
  } catch (error) {
    return { stop: () => {}, whyNot: `cost not measured (${messageOf(error)})` };
  }
}

function hooksText(hooks: readonly HookReport[]): string {
  return hooks.map((h) => `${h.hook}: ${h.sections?.join(' + ') ?? 'off'}`).join(', ');
}

function costText(costs: readonly ProgramCost[]): string {
  const hits = costs.reduce((n, c) => n + c.hits, 0);
  if (hits === 0) return 'no hits';
  const ns = costs.reduce((n, c) => n + (c.nsPerHit ?? 0) * c.hits, 0) / hits;
  return `${Math.round(ns)} ns a hit, ${hits} hits`;
}

function hookNotes(hook: HookReport): string[] {
  return [
    ...(hook.sections === undefined ? [`Without ${hook.hook}: ${hook.purpose} are not seen.`] : []),
    ...(hook.note === undefined ? [] : [`${hook.hook}: ${hook.note}`]),
    ...hook.passedOver.map((p) => `${hook.hook}: not ${p.sections.join(' + ')}, since ${p.reason}.`),
  ];
}

/** The kernel, what it allows, and each probe at work for `options.seconds`. */
export async function diagnose(
  config: EbpfConfig,
  context: ComponentContext,
  options: DiagnoseOptions,
): Promise<readonly Finding[]> {
  const kernel = await Kernel.probe();
  const machine = kernelFindings(kernel);
  try {
    kernel.assertUsable();
    libbpf();
    return [...machine, ...(await new ProbeDoctor(config, context).run(kernel, options.seconds))];
  } catch (error) {
    return [...machine, { subject: 'probes', status: 'off', text: messageOf(error) }];
  }
}
