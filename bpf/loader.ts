import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { libbpf } from '../host/bpf/libbpf.ts';
import { BpfError, type BpfLink, type BpfMap, BpfObject, type BpfProgram } from '../host/bpf/object.ts';
import { AbsentError, AgentError, messageOf } from '../pipeline/errors.ts';
import { Chooser, type HookChoice, type HookReport, type ProbeObject } from './hooks.ts';
import type { Kernel } from './kernel.ts';
import { layoutHash, layoutOf, type ObjectLayout } from './layout.ts';

const EPERM = 1;
/** The verifier was interrupted by a signal; libbpf tries five times, which a profiler's signals can use up. */
const EAGAIN = 11;
const maxInterruptions = 20;
const ENOTSUPP = 524;

export type { HookChoice, HookReport, HookSpec, ProbeObject } from './hooks.ts';

export interface LoadOptions {
  /** Values of `const volatile` knobs, by C name. Arrays as bytes. */
  readonly knobs?: Readonly<Record<string, number | bigint | Uint8Array>>;
  /** Sizes of maps, where they differ from the source's. */
  readonly mapEntries?: Readonly<Record<string, number>>;
  /** Maps that exist already and are shared: map name → descriptor. */
  readonly shared?: Readonly<Record<string, number>>;
  /** Where the verifier's full log goes. */
  readonly debug?: (message: string, log: string) => void;
}

/** Loaded and attached. Close it before the ring it shares. */
export class LoadedProbe {
  readonly object: BpfObject;
  readonly hooks: readonly HookReport[];
  /** Hash maps whose keys begin with struct skl_owner: what a namespace leaves behind. */
  readonly ownedMaps: readonly BpfMap[];
  readonly #links: BpfLink[];

  constructor(object: BpfObject, hooks: readonly HookReport[], links: BpfLink[], layout: ObjectLayout) {
    this.object = object;
    this.hooks = hooks;
    this.ownedMaps = [...object.maps.values()].filter((m) => keyIsOwned(layout, m.name));
    this.#links = links;
  }

  /** @throws AgentError when the object has no such map: a mistake in the probe */
  map(name: string): BpfMap {
    const map = this.object.maps.get(name);
    if (!map) throw new AgentError('E_BPF_MAP', `The object ${this.object.name} has no map ${name}.`);
    return map;
  }

  /** @throws AgentError when the object has no such program: a mistake in the probe */
  program(name: string): BpfProgram {
    const program = this.object.programs.get(name);
    if (!program) throw new AgentError('E_BPF_PROGRAM', `The object ${this.object.name} has no program ${name}.`);
    return program;
  }

  /** Programs in use, in the order of the hooks. */
  get programs(): readonly BpfProgram[] {
    return this.hooks.flatMap((h) => h.programs.map((p) => this.program(p)));
  }

  /** Keeps a link the probe made itself, to be destroyed with the rest. */
  keep(link: BpfLink): BpfLink {
    this.#links.push(link);
    return link;
  }

  /** Detaches and frees. Twice is safe. */
  close(): void {
    for (const link of this.#links.splice(0)) link.destroy();
    this.object.close();
  }
}

function keyIsOwned(layout: ObjectLayout, map: string): boolean {
  const key = /^struct (.*)$/.exec(layout.maps[map]?.key ?? '')?.[1] ?? layout.maps[map]?.key ?? '';
  return layout.structs[key]?.fields[0]?.type === 'struct skl_owner';
}

/** Folders where objects may be: set by hand, beside the built program, the build output of a checkout. */
function objectFolders(): readonly string[] {
  const here = import.meta.dirname;
  const own = [join(here, 'objects'), join(here, '../.output/bpf'), join(here, '../../.output/bpf')];
  const custom = process.env['SKOOPLINE_BPF_DIR'];
  return custom === undefined ? own : [custom];
}

/** @throws AbsentError when the object was not built */
export function readObject(name: string): Buffer {
  const file = `${name}.bpf.o`;
  const folder = objectFolders().find((f) => existsSync(join(f, file)));
  if (folder === undefined) {
    throw new AbsentError(`The object ${file} is not there (looked in ${objectFolders().join(', ')}).`, {
      hint: 'Build the objects with bpf/build.sh, or set SKOOPLINE_BPF_DIR.',
    });
  }
  return readFileSync(join(folder, file));
}

/** libbpf names the program that failed: `prog 'skl_x': BPF program load failed`. */
function culprit(log: string): string | undefined {
  return (
    /prog '([^']+)': (?:BPF program load failed|failed to (?:load|find|auto-attach))/.exec(log)?.[1] ??
    /failed to load program '([^']+)'/.exec(log)?.[1]
  );
}

function setKnobs(object: BpfObject, layout: ObjectLayout, knobs: LoadOptions['knobs']): void {
  const rodata = [...object.maps.values()].find((m) => m.name.endsWith('.rodata'));
  if (!rodata || !knobs) return;
  const value = rodata.initialValue();
  for (const [name, given] of Object.entries(knobs)) {
    const knob = layout.knobs[name];
    if (!knob) throw new AgentError('E_BPF_KNOB', `The object ${object.name} has no knob ${name}.`);
    if (given instanceof Uint8Array) {
      if (given.length > knob.size) throw new AgentError('E_BPF_KNOB', `${name} has room for ${knob.size} bytes only.`);
      value.set(given, knob.offset);
    } else {
      const n = BigInt.asUintN(64, BigInt(given));
      for (let i = 0; i < knob.size; i++) value[knob.offset + i] = Number((n >> BigInt(8 * i)) & 0xffn);
    }
  }
  rodata.setInitialValue(value);
}

class Loader {
  readonly #spec: ProbeObject;
  readonly #kernel: Kernel;
  readonly #options: LoadOptions;
  readonly #bytes: Buffer;
  readonly #layout: ObjectLayout;
  readonly #chooser: Chooser;
  #interruptions = 0;

  constructor(spec: ProbeObject, kernel: Kernel, options: LoadOptions) {
    this.#spec = spec;
    this.#kernel = kernel;
    this.#options = options;
    this.#bytes = readObject(spec.object);
    this.#layout = layoutOf(this.#bytes);
    const hash = layoutHash(this.#layout);
    if (hash !== spec.layoutHash) {
      throw new AgentError(
        'E_BPF_LAYOUT',
        `The object ${spec.object}.bpf.o has another layout (${hash}) than this program was made for (${spec.layoutHash}).`,
        { hint: 'Build both from the same sources: bpf/build.sh.' },
      );
    }
    const object = BpfObject.open(this.#bytes, spec.object);
    const sections = new Map([...object.programs.values()].map((p) => [p.name, p.section]));
    object.close();
    this.#chooser = new Chooser(spec, kernel, sections);
  }

  /** Each failure rules one choice out or is one of a bounded number of interruptions, so this ends. */
  run(): LoadedProbe {
    for (;;) {
      this.#chooser.assertServed();
      const loaded = this.#attempt();
      if (loaded) return loaded;
    }
  }

  #attempt(): LoadedProbe | undefined {
    const object = BpfObject.open(this.#bytes, this.#spec.object);
    const links: BpfLink[] = [];
    const abandon = () => {
      for (const link of links) link.destroy();
      object.close();
    };
    try {
      this.#prepare(object);
      if (this.#load(object) && this.#attachAll(object, links)) {
        const reports = this.#spec.hooks.map((h) => this.#chooser.report(h));
        return new LoadedProbe(object, reports, links, this.#layout);
      }
      abandon();
      return undefined;
    } catch (error) {
      abandon();
      throw error;
    }
  }

  #prepare(object: BpfObject): void {
    const wanted = new Map<string, HookChoice>();
    for (const hook of this.#spec.hooks) {
      const choice = this.#chooser.choiceOf(hook);
      for (const p of choice?.programs ?? []) if (choice) wanted.set(p, choice);
    }
    for (const program of object.programs.values()) {
      const choice = wanted.get(program.name);
      program.autoload = choice !== undefined;
      const target = choice && this.#target(program, choice);
      if (target !== undefined && /^f(entry|exit)\b/.test(program.section)) program.attachTarget = target;
    }
    setKnobs(object, this.#layout, this.#options.knobs);
    for (const [name, entries] of Object.entries(this.#options.mapEntries ?? {})) {
      const map = object.maps.get(name);
      if (map) map.maxEntries = entries;
    }
    for (const [name, fd] of Object.entries(this.#options.shared ?? {})) object.maps.get(name)?.reuse(fd);
  }

  #target(program: BpfProgram, choice: HookChoice): string | undefined {
    if (!choice.targets) return undefined;
    return program.section.startsWith('f')
      ? choice.targets.find((t) => this.#kernel.hasFunction(t))
      : choice.targets.find((t) => this.#kernel.hasSymbol(t));
  }

  #load(object: BpfObject): boolean {
    try {
      object.load();
      return true;
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      this.#options.debug?.(error.message, error.log);
      if (error.errno === EAGAIN && this.#interruptions++ < maxInterruptions) return false;
      const choice = this.#chooser.holderOf(culprit(error.log) ?? '');
      if (!choice) throw error;
      this.#noteTrampolines(choice, error);
      this.#chooser.ruleOut(
        choice,
        `the kernel refuses it: ${messageOf(error)
          .replace(/^load \S+: /, '')
          .replace(/\.$/, '')}`,
      );
      return false;
    }
  }

  /** A refusal without a word from the verifier is about the kind of program, not about this one. */
  #noteTrampolines(choice: HookChoice, error: BpfError): void {
    const isTrampoline = this.#chooser.sections(choice).every((s) => /^f(entry|exit)\b/.test(s));
    if (!isTrampoline || (error.errno !== EPERM && error.errno !== ENOTSUPP)) return;
    this.#kernel.trampolinesRefused = 'this kernel refuses fentry and fexit programs';
    this.#chooser.judgeAgain();
  }

  #attachAll(object: BpfObject, links: BpfLink[]): boolean {
    for (const hook of this.#spec.hooks) {
      const choice = this.#chooser.choiceOf(hook);
      if (!choice || choice.manual) continue;
      try {
        for (const name of choice.programs) links.push(this.#attach(object.programs.get(name)!, choice));
      } catch (error) {
        if (!(error instanceof BpfError)) throw error;
        this.#options.debug?.(error.message, error.log);
        this.#chooser.ruleOut(choice, messageOf(error).replace(/\.$/, ''));
        return false;
      }
    }
    return true;
  }

  #attach(program: BpfProgram, choice: HookChoice): BpfLink {
    const target = this.#target(program, choice);
    if (target === undefined || !/^k(ret)?probe\b/.test(program.section)) return program.attach();
    return program.attachKprobe(target, program.section.startsWith('kret'));
  }
}

/**
 * Opens, checks, loads and attaches an object with the best hooks this kernel has. Synchronous; some 10–100 ms, most of it in the
 * kernel's verifier.
 *
 * @throws AbsentError when libbpf, the object or a required hook is missing; BpfError when the kernel refuses; AgentError
 *         E_BPF_LAYOUT when object and program do not fit together
 */
export function loadProbe(spec: ProbeObject, kernel: Kernel, options: LoadOptions = {}): LoadedProbe {
  libbpf();
  return new Loader(spec, kernel, options).run();
}
