import { AbsentError } from '../pipeline/errors.ts';
import type { Kernel } from './kernel.ts';

/** One way to see what a hook must see: all of `programs` load and attach, or the next choice is tried. */
export interface HookChoice {
  /** Names of programs of the object; several where one look-out needs several functions watched. */
  readonly programs: readonly string[];
  /** Tracepoint arguments this program reads; a kernel with fewer does not have it. */
  readonly arguments?: number;
  /** Said by doctor: what this choice costs or cannot see, compared with the one before it. */
  readonly note?: string;
  /** Further conditions: why not, or undefined when it may be used. */
  readonly unmet?: (kernel: Kernel) => string | undefined;
  /** Other places for a program than its section's (fentry and kprobe targets that were renamed): the first that is there. */
  readonly targets?: readonly string[];
  /** The probe attaches it itself after loading (tcx, cgroups, iterators). */
  readonly manual?: boolean;
}

/** Something the probe must see or would like to see, with its choices, best first. */
export interface HookSpec {
  readonly name: string;
  /** What is lost without it. */
  readonly purpose: string;
  /** Without it the probe is off. */
  readonly required: boolean;
  readonly choices: readonly HookChoice[];
}

/** How a hook was served on this kernel. */
export interface HookReport {
  readonly hook: string;
  readonly purpose: string;
  /** Sections in use (`tp_btf/kfree_skb`); undefined = this hook is off. */
  readonly sections: readonly string[] | undefined;
  readonly programs: readonly string[];
  readonly note: string | undefined;
  /** Better choices and why they are not in use. */
  readonly passedOver: readonly { readonly sections: readonly string[]; readonly reason: string }[];
}

export interface ProbeObject {
  /** Base name: `packetloss` → packetloss.bpf.o */
  readonly object: string;
  /** From the generated file; the object must have the same. */
  readonly layoutHash: string;
  readonly hooks: readonly HookSpec[];
}

/** Why a section cannot work on this kernel, as far as can be told without trying; undefined = try it. */
function unmetSection(section: string, choice: HookChoice, kernel: Kernel): string | undefined {
  const [kind = '', ...rest] = section.split('/');
  const target = rest.at(-1) ?? '';
  switch (kind) {
    case 'tp_btf':
    case 'raw_tp': {
      const has = kernel.tracepointArguments(target);
      if (has === undefined) return `this kernel has no tracepoint ${target}`;
      if (choice.arguments !== undefined && has < choice.arguments) {
        return `tracepoint ${target} has ${has} arguments here, ${choice.arguments} are needed`;
      }
      return undefined;
    }
    case 'fentry':
    case 'fexit':
      if (kernel.trampolinesRefused !== undefined) return kernel.trampolinesRefused;
      return (choice.targets ?? [target]).some((t) => kernel.hasFunction(t))
        ? undefined
        : `this kernel's types have no function ${(choice.targets ?? [target]).join(' or ')}`;
    case 'kprobe':
    case 'kretprobe':
      if (!kernel.kprobes) return 'this kernel is built without kprobes';
      return (choice.targets ?? [target]).some((t) => kernel.hasSymbol(t))
        ? undefined
        : `this kernel has no function ${(choice.targets ?? [target]).join(' or ')} (renamed or inlined)`;
    default:
      return undefined;
  }
}

/** State of one attempt after another: which choices are ruled out, with the reason. */
export class Chooser {
  readonly #spec: ProbeObject;
  readonly #kernel: Kernel;
  readonly #sections: ReadonlyMap<string, string>;
  readonly #ruledOut = new Map<HookChoice, string>();

  constructor(spec: ProbeObject, kernel: Kernel, sections: ReadonlyMap<string, string>) {
    this.#spec = spec;
    this.#kernel = kernel;
    this.#sections = sections;
    for (const hook of spec.hooks) for (const choice of hook.choices) this.#judge(choice);
  }

  #judge(choice: HookChoice): void {
    const reason =
      choice.unmet?.(this.#kernel) ??
      choice.programs
        .map((p) => {
          const section = this.#sections.get(p);
          return section === undefined ? `the object has no program ${p}` : unmetSection(section, choice, this.#kernel);
        })
        .find((r) => r !== undefined);
    if (reason !== undefined) this.#ruledOut.set(choice, reason);
  }

  /** After the kernel taught us something about a kind of program. */
  judgeAgain(): void {
    for (const hook of this.#spec.hooks)
      for (const choice of hook.choices) if (!this.#ruledOut.has(choice)) this.#judge(choice);
  }

  ruleOut(choice: HookChoice, reason: string): void {
    this.#ruledOut.set(choice, reason);
  }

  choiceOf(hook: HookSpec): HookChoice | undefined {
    return hook.choices.find((c) => !this.#ruledOut.has(c));
  }

  /** The choice in use that holds a program. */
  holderOf(program: string): HookChoice | undefined {
    return this.#spec.hooks.map((h) => this.choiceOf(h)).find((c) => c?.programs.includes(program));
  }

  sections(choice: HookChoice): readonly string[] {
    return choice.programs.map((p) => this.#sections.get(p) ?? p);
  }

  report(hook: HookSpec): HookReport {
    const choice = this.choiceOf(hook);
    const better = choice ? hook.choices.slice(0, hook.choices.indexOf(choice)) : hook.choices;
    return {
      hook: hook.name,
      purpose: hook.purpose,
      sections: choice && this.sections(choice),
      programs: choice?.programs ?? [],
      note: choice?.note,
      passedOver: better.map((c) => ({ sections: this.sections(c), reason: this.#ruledOut.get(c) ?? 'not tried' })),
    };
  }

  /** @throws AbsentError when a required hook has no choice left */
  assertServed(): void {
    for (const hook of this.#spec.hooks) {
      if (!hook.required || this.choiceOf(hook)) continue;
      const why = hook.choices.map((c) => `${this.sections(c).join(' + ')}: ${this.#ruledOut.get(c)}`).join('; ');
      throw new AbsentError(`The kernel offers no hook for ${this.#spec.object} (${hook.purpose}): ${why}.`);
    }
  }
}
