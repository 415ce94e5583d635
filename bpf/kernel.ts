import { effectiveCapabilities } from '../host/capabilities.ts';
import { hostRoot, type ProcRoot } from '../host/proc-root.ts';
import { type KernelSymbols, sharedSymbols } from '../host/symbols/kallsyms.ts';
import { KernelTypes } from '../host/symbols/kernel-types.ts';
import { AbsentError } from '../pipeline/errors.ts';

/** Effective capabilities from /proc/self/status, and what follows from them for BPF. */
export interface Capabilities {
  /** May load tracing programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN. */
  readonly bpf: boolean;
  /** May attach to interfaces and cgroups. */
  readonly netAdmin: boolean;
  /** May read addresses in /proc/kallsyms. */
  readonly syslog: boolean;
  readonly sysAdmin: boolean;
  /** What is missing for BPF, by name. */
  readonly missing: readonly string[];
}

/** @param status text of /proc/self/status */
export function parseCapabilities(status: string): Capabilities {
  const has = effectiveCapabilities(status);
  const sysAdmin = has('CAP_SYS_ADMIN');
  const missing = (['CAP_BPF', 'CAP_PERFMON'] as const).filter((c) => !sysAdmin && !has(c));
  return { bpf: missing.length === 0, netAdmin: has('CAP_NET_ADMIN'), syslog: has('CAP_SYSLOG'), sysAdmin, missing };
}

/** The running kernel, as the choice of hooks needs it. Answers are remembered; `forgetTypes` frees the kernel's BTF. */
export class Kernel {
  readonly symbols: KernelSymbols;
  readonly capabilities: Capabilities;
  /** `6.1.0-28-amd64` */
  readonly release: string;
  /** Whether kprobes can be attached (CONFIG_KPROBE_EVENTS). */
  readonly kprobes: boolean;
  /** `none`, `integrity`, `confidentiality`. */
  readonly lockdown: string;
  /** Why fentry and fexit do not work here, once one was refused; then no other is tried. */
  trampolinesRefused: string | undefined;
  readonly #root: ProcRoot;
  #types: KernelTypes | undefined;
  readonly #tracepoints = new Map<string, number | undefined>();
  readonly #functions = new Map<string, boolean>();
  readonly #symbolNames = new Map<string, boolean>();

  private constructor(root: ProcRoot, symbols: KernelSymbols) {
    this.#root = root;
    this.symbols = symbols;
    this.release = root.tryReadText(root.proc('sys/kernel/osrelease'))?.trim() ?? 'unknown';
    this.capabilities = parseCapabilities(root.tryReadText(root.proc('self/status')) ?? '');
    this.kprobes = root.list(root.sys('bus/event_source/devices')).includes('kprobe');
    const lockdown = root.tryReadText(root.sys('kernel/security/lockdown')) ?? '';
    this.lockdown = /\[(\w+)\]/.exec(lockdown)?.[1] ?? 'none';
  }

  /** Reads what must be known before the first probe: symbols without holding the event loop. */
  static async probe(root: ProcRoot = hostRoot): Promise<Kernel> {
    const symbols = sharedSymbols(root);
    await symbols.refresh();
    return new Kernel(root, symbols);
  }

  /** The kernel's types. @throws AbsentError when it has none */
  get types(): KernelTypes {
    this.#types ??= KernelTypes.read(this.#root);
    return this.#types;
  }

  /** Frees the kernel's BTF (5 MB); asked again, it is read again. */
  forgetTypes(): void {
    this.#types = undefined;
  }

  /** @throws AbsentError with the one sentence that says why no BPF program can run here */
  assertUsable(): void {
    const { missing } = this.capabilities;
    if (missing.length > 0) {
      throw new AbsentError(`The agent may not load BPF programs: it lacks ${missing.join(' and ')}.`);
    }
    if (this.lockdown === 'confidentiality') {
      throw new AbsentError('The kernel is locked down for confidentiality: BPF programs may not read kernel memory.');
    }
    void this.types;
  }

  tracepointArguments(name: string): number | undefined {
    return remember(this.#tracepoints, name, () => this.types.tracepointArguments(name));
  }

  hasFunction(name: string): boolean {
    return remember(this.#functions, name, () => this.types.hasFunction(name));
  }

  /** Whether a function can be named for a kprobe. True when symbols cannot be read: then only trying tells. */
  hasSymbol(name: string): boolean {
    return remember(this.#symbolNames, name, () => {
      const { table } = this.symbols;
      return table.size === 0 || table.has(name);
    });
  }
}

function remember<V>(known: Map<string, V>, key: string, ask: () => V): V {
  if (!known.has(key)) known.set(key, ask());
  return known.get(key) as V;
}
