import { AbsentError } from '../../pipeline/errors.ts';
import { hostRoot, ProcRoot } from '../proc-root.ts';
import { Btf, btfKind } from './btf.ts';

/**
 * The running kernel's types: which tracepoints it has with how many arguments, which functions, and what its enums are called.
 * Numbers of kernel enums move between versions (NETFILTER_DROP is 8 on one kernel and 12 on another): names come from here only.
 *
 * Holds the kernel's BTF (5 MB) while it lives: ask what is needed at start and let go of it.
 */
export class KernelTypes {
  readonly #core: Btf;
  readonly #root: ProcRoot;
  readonly #modules = new Map<string, Btf | undefined>();

  constructor(core: Btf, root: ProcRoot) {
    this.#core = core;
    this.#root = root;
  }

  /** @throws AbsentError when the kernel has no BTF; BtfError when it cannot be read */
  static read(root: ProcRoot = hostRoot): KernelTypes {
    const bytes = readOwned(root, root.sys('kernel/btf/vmlinux'));
    if (!bytes) {
      throw new AbsentError('The kernel tells nothing about its types: no /sys/kernel/btf/vmlinux.', {
        hint: 'eBPF probes need a kernel built with CONFIG_DEBUG_INFO_BTF=y.',
      });
    }
    return new KernelTypes(new Btf(bytes), root);
  }

  /** Types of a loaded module; undefined when it is not loaded or has none. */
  module(name: string): Btf | undefined {
    if (!this.#modules.has(name)) {
      const bytes = readOwned(this.#root, this.#root.sys('kernel/btf', name));
      this.#modules.set(name, bytes ? new Btf(bytes, this.#core) : undefined);
    }
    return this.#modules.get(name);
  }

  /** Names of loaded modules that have types. */
  moduleNames(): string[] {
    return this.#root.list(this.#root.sys('kernel/btf')).filter((n) => n !== 'vmlinux');
  }

  /** The kernel itself, then its modules until one answers. */
  #first<T>(ask: (btf: Btf) => T | undefined): T | undefined {
    const own = ask(this.#core);
    if (own !== undefined) return own;
    for (const name of this.moduleNames()) {
      const btf = this.module(name);
      const found = btf && ask(btf);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Number of arguments of a tracepoint as a BPF program sees them; undefined when the kernel has no such tracepoint. */
  tracepointArguments(name: string): number | undefined {
    return this.#first((btf) => {
      const id = btf.find(btfKind.typedef, `btf_trace_${name}`)[0];
      if (id === undefined) return undefined;
      const proto = btf.resolve(btf.sizeOrType(btf.resolve(id)));
      // The first parameter is the tracepoint's private data.
      return btf.parameters(proto).length - 1;
    });
  }

  /** Whether a function of this name is in the BTF, which fentry and fexit need. */
  hasFunction(name: string): boolean {
    return this.#first((btf) => (btf.find(btfKind.func, name).length > 0 ? true : undefined)) ?? false;
  }

  /** Number of parameters of a function; undefined when the BTF has none of this name. */
  functionParameters(name: string): number | undefined {
    return this.#first((btf) => {
      const id = btf.find(btfKind.func, name)[0];
      return id === undefined ? undefined : btf.parameters(btf.sizeOrType(id)).length;
    });
  }

  /** Whether a struct has a member of this name. */
  hasMember(struct: string, member: string): boolean {
    const holds = (btf: Btf, id: number, depth: number): boolean =>
      btf.members(id).some((m) => {
        if (m.name === member) return true;
        const inner = btf.resolve(m.type);
        const kind = btf.kind(inner);
        return (
          m.name === '' &&
          depth < 8 &&
          (kind === btfKind.struct || kind === btfKind.union) &&
          holds(btf, inner, depth + 1)
        );
      });
    return this.#core.find(btfKind.struct, struct).some((id) => holds(this.#core, id, 0));
  }

  /** Value → name of an enum, by the enum's name. Undefined when the kernel has no such enum. */
  enumNames(name: string): ReadonlyMap<number, string> | undefined {
    return this.#first((btf) => {
      const id = btf.find(btfKind.enum, name)[0] ?? btf.find(btfKind.enum64, name)[0];
      return id === undefined ? undefined : byValue(btf.enumerators(id));
    });
  }

  /** Value → name of the enum that has this member. For enums that have no name. */
  enumNamesWith(member: string): ReadonlyMap<number, string> | undefined {
    return this.#first((btf) => {
      const id = btf.findEnumWith(member);
      return id === undefined ? undefined : byValue(btf.enumerators(id));
    });
  }
}

/** Reads into a buffer of its own: the root's would keep the size of the largest file for good, and BTF has megabytes. */
function readOwned(root: ProcRoot, path: string): Buffer | undefined {
  return new ProcRoot({ proc: root.procPath, sys: root.sysPath, run: root.runPath }).tryRead(path);
}

function byValue(members: readonly (readonly [string, number])[]): ReadonlyMap<number, string> {
  const out = new Map<number, string>();
  // The first name of a value is the one the kernel documents; aliases follow it.
  for (const [name, value] of members) if (!out.has(value)) out.set(value, name);
  return out;
}
