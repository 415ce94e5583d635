import { closeSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { AgentError } from '../../pipeline/errors.ts';
import { errnoName, errnoText, lastErrno, type Pointer, viewMemory } from '../ffi/libc.ts';
import { libbpf, takeMessages } from './libbpf.ts';

/** A failed BPF operation. The message is one sentence; `log` is all that libbpf and the verifier said (for debug level). */
export class BpfError extends AgentError {
  readonly errno: number;
  readonly log: string;
  constructor(what: string, errno: number, log = '') {
    const said = lastMeaningful(log);
    super(`E_BPF_${errnoName(errno)}`, `${what}: ${said ?? errnoText(errno)}.`);
    this.name = 'BpfError';
    this.errno = errno;
    this.log = log;
  }
}

/** The line of a verifier log that says what is wrong: the last one that is no statistics and no libbpf wrapping. */
export function lastMeaningful(log: string): string | undefined {
  const lines = log
    .split('\n')
    .map((l) => l.replace(/^libbpf: (prog '[^']*': )?/, '').trim())
    .filter((l) => l !== '');
  const inside = lines.filter(
    (l) =>
      !/^(processed \d+ insns|-- (BEGIN|END) PROG LOAD LOG|BPF program load failed|failed to load|permission error while running as root|verification time|stack depth|peak_states)/.test(
        l,
      ),
  );
  const line = inside.at(-1) ?? lines.find((l) => l.startsWith('BPF program load failed'));
  return line?.replace(/\.$/, '');
}

/** Result of an int function of libbpf. @throws BpfError */
function checked(what: string, result: number): number {
  if (result < 0) throw new BpfError(what, -result, takeMessages());
  return result;
}

/** An attachment. Destroying it (or the end of the process) detaches. */
export class BpfLink {
  #link: Pointer;
  #fd: number | undefined;

  /** @param link libbpf's handle, or the descriptor of a link made by bpf_link_create */
  constructor(link: bigint | number) {
    this.#link = typeof link === 'bigint' ? link : null;
    this.#fd = typeof link === 'number' ? link : undefined;
  }

  get fd(): number {
    if (this.#fd !== undefined) return this.#fd;
    return this.#link === null ? -1 : libbpf().linkFd(this.#link);
  }

  /** Twice is safe. */
  destroy(): void {
    if (this.#link !== null) libbpf().linkDestroy(this.#link);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#link = null;
    this.#fd = undefined;
  }
}

/** TCX attach types of include/uapi/linux/bpf.h (since v6.6). */
const tcx = { ingress: 46, egress: 47 } as const;

export class BpfProgram {
  readonly name: string;
  /** `tp_btf/kfree_skb` */
  readonly section: string;
  readonly #object: BpfObject;
  readonly #program: bigint;

  /** For {@link BpfObject} only. */
  constructor(object: BpfObject, program: bigint) {
    this.#object = object;
    this.#program = program;
    this.name = libbpf().programName(program);
    this.section = libbpf().programSection(program);
  }

  #handle(): bigint {
    this.#object.assertOpen();
    return this.#program;
  }

  /** Whether {@link BpfObject.load} loads it. */
  set autoload(on: boolean) {
    checked(`autoload ${this.name}`, libbpf().setAutoload(this.#handle(), on));
  }

  /** Function an fentry, fexit or freplace program attaches to, when it is not the one its section names. Before load. */
  set attachTarget(name: string) {
    checked(`attach target of ${this.name}`, libbpf().setAttachTarget(this.#handle(), 0, name));
  }

  get fd(): number {
    return libbpf().programFd(this.#handle());
  }

  #link(what: string, link: Pointer): BpfLink {
    const errno = lastErrno();
    if (link === null) throw new BpfError(what, errno, takeMessages());
    takeMessages();
    return new BpfLink(link);
  }

  /** Attaches as the section says. @throws BpfError */
  attach(): BpfLink {
    return this.#link(`attach ${this.section}`, libbpf().attach(this.#handle()));
  }

  /** Attaches to another function than the section's. @throws BpfError */
  attachKprobe(symbol: string, isReturn = false): BpfLink {
    return this.#link(`attach kprobe ${symbol}`, libbpf().attachKprobe(this.#handle(), isReturn, symbol));
  }

  /** @param cgroup descriptor of a cgroup v2 directory @throws BpfError */
  attachCgroup(cgroup: number): BpfLink {
    return this.#link(`attach ${this.section}`, libbpf().attachCgroup(this.#handle(), cgroup));
  }

  /**
   * Attaches to an interface of this thread's network namespace (see `inNetns`). Since v6.6.
   *
   * @throws BpfError
   */
  attachTcx(ifindex: number, direction: 'ingress' | 'egress'): BpfLink {
    const fd = libbpf().linkCreate(this.fd, ifindex, tcx[direction], null);
    return new BpfLink(checked(`attach tcx ${direction} to interface ${ifindex}`, fd));
  }

  /** Runs an iterator program to its end in this thread's network namespace; returns what it printed. @throws BpfError */
  readIterator(): Buffer {
    const link = this.#link(`attach ${this.section}`, libbpf().attachIter(this.#handle(), null));
    try {
      const fd = checked(`iterate ${this.section}`, libbpf().iterCreate(link.fd));
      try {
        const chunks: Buffer[] = [];
        for (;;) {
          const chunk = Buffer.allocUnsafe(64 * 1024);
          const n = readSync(fd, chunk);
          if (n === 0) return Buffer.concat(chunks);
          chunks.push(chunk.subarray(0, n));
        }
      } finally {
        closeSync(fd);
      }
    } finally {
      link.destroy();
    }
  }

  /**
   * Runs a program of type `syscall` (or any that can be test-run) with `context`, which it may change.
   *
   * @returns the program's return value
   * @throws BpfError
   */
  testRun(context: Buffer): number {
    // struct bpf_test_run_opts of libbpf: sz 0, ctx_in 32, ctx_size_in 48, retval 56
    const options = Buffer.alloc(80);
    options.writeBigUInt64LE(80n, 0);
    options.writeBigUInt64LE(koffi.address(context), 32);
    options.writeUInt32LE(context.length, 48);
    checked(`run ${this.name}`, libbpf().testRun(this.fd, options));
    return options.readUInt32LE(56);
  }

  /**
   * For a program of type `xdp`: `count` copies of a frame come to an interface of this thread's network namespace as if its driver had
   * received them; those that the program passes go up the stack. Since v5.18 (b530e9e1063e "bpf: Add "live packet" mode for
   * XDP in BPF_PROG_RUN").
   *
   * @param frame from the Ethernet header on; 14 bytes or more
   * @throws BpfError; with EINTR an unknown part of them was received
   */
  receiveFrames(frame: Buffer, ifindex: number, count: number): void {
    // struct xdp_md: data 0, data_end 4, data_meta 8, ingress_ifindex 12
    const context = Buffer.alloc(24);
    context.writeUInt32LE(frame.length, 4);
    context.writeUInt32LE(ifindex, 12);
    // struct bpf_test_run_opts of libbpf: sz 0, data_in 8, data_size_in 24, ctx_in 32, ctx_size_in 48, repeat 60, flags 68
    const options = Buffer.alloc(80);
    options.writeBigUInt64LE(80n, 0);
    options.writeBigUInt64LE(koffi.address(frame), 8);
    options.writeUInt32LE(frame.length, 24);
    options.writeBigUInt64LE(koffi.address(context), 32);
    options.writeUInt32LE(context.length, 48);
    options.writeUInt32LE(count, 60);
    options.writeUInt32LE(liveFrames, 68);
    checked(`run ${this.name}`, libbpf().testRun(this.fd, options));
  }
}

/** BPF_F_TEST_XDP_LIVE_FRAMES of include/uapi/linux/bpf.h. */
const liveFrames = 2;

/** Map types of include/uapi/linux/bpf.h whose values exist once for each CPU. */
const perCpuTypes: ReadonlySet<number> = new Set([5, 6, 10, 21]);

export class BpfMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly #object: BpfObject;
  readonly #map: bigint;

  /** For {@link BpfObject} only. */
  constructor(object: BpfObject, map: bigint) {
    const b = libbpf();
    this.#object = object;
    this.#map = map;
    this.name = b.mapName(map);
    this.type = b.mapType(map);
    this.keySize = b.mapKeySize(map);
    this.valueSize = b.mapValueSize(map);
  }

  #handle(): bigint {
    this.#object.assertOpen();
    return this.#map;
  }

  get fd(): number {
    return libbpf().mapFd(this.#handle());
  }

  get perCpu(): boolean {
    return perCpuTypes.has(this.type);
  }

  get maxEntries(): number {
    return libbpf().mapMaxEntries(this.#handle());
  }

  /** Before load. */
  set maxEntries(entries: number) {
    checked(`set the size of ${this.name}`, libbpf().mapSetMaxEntries(this.#handle(), entries));
  }

  /** Uses a map that exists instead of making one. Before load. */
  reuse(fd: number): void {
    checked(`share ${this.name}`, libbpf().mapReuseFd(this.#handle(), fd));
  }

  /** A copy of what .rodata or .data will hold. Before load. */
  initialValue(): Buffer {
    const size = new BigUint64Array(1);
    const at = libbpf().mapInitialValue(this.#handle(), size);
    if (at === null) throw new BpfError(`initial value of ${this.name}`, lastErrno());
    return Buffer.from(new Uint8Array(viewMemory(at, Number(size[0]))));
  }

  /** Sets .rodata or .data; `value` as long as {@link initialValue}. Before load. */
  setInitialValue(value: Buffer): void {
    checked(`set ${this.name}`, libbpf().mapSetInitialValue(this.#handle(), value, value.length));
  }
}

/** An object file in libbpf's hands: open → load → attach → close. */
export class BpfObject {
  readonly name: string;
  readonly programs: ReadonlyMap<string, BpfProgram>;
  readonly maps: ReadonlyMap<string, BpfMap>;
  #object: Pointer;

  private constructor(name: string, object: bigint) {
    const b = libbpf();
    this.name = name;
    this.#object = object;
    const programs = new Map<string, BpfProgram>();
    for (let p = b.nextProgram(object, null); p !== null; p = b.nextProgram(object, p)) {
      const program = new BpfProgram(this, p);
      programs.set(program.name, program);
    }
    const maps = new Map<string, BpfMap>();
    for (let m = b.nextMap(object, null); m !== null; m = b.nextMap(object, m)) {
      const map = new BpfMap(this, m);
      maps.set(map.name, map);
    }
    this.programs = programs;
    this.maps = maps;
  }

  /**
   * @param name shown in messages and prefixed to the names of .rodata and .data
   * @throws BpfError for what is no object file; AbsentError without libbpf
   */
  static open(bytes: Buffer, name: string): BpfObject {
    const b = libbpf();
    takeMessages();
    const text = Buffer.from(`${name}\0`, 'latin1');
    // struct bpf_object_open_opts: sz 0, object_name 8; a shorter struct stands for zeros
    const options = Buffer.alloc(16);
    options.writeBigUInt64LE(16n, 0);
    options.writeBigUInt64LE(koffi.address(text), 8);
    const object = b.openMem(bytes, bytes.length, options);
    const errno = lastErrno();
    if (object === null) throw new BpfError(`open ${name}`, errno, takeMessages());
    return new BpfObject(name, object);
  }

  /** @throws AgentError after {@link close}: the handles inside are gone. */
  assertOpen(): void {
    if (this.#object === null) throw new AgentError('E_BPF_CLOSED', `The BPF object ${this.name} is closed.`);
  }

  /** Makes the maps and loads the programs that autoload. An object whose load failed can only be closed. @throws BpfError */
  load(): void {
    this.assertOpen();
    takeMessages();
    checked(`load ${this.name}`, libbpf().load(this.#object));
    takeMessages();
  }

  /** Closes programs and maps; destroy links first. Twice is safe. */
  close(): void {
    if (this.#object !== null) libbpf().close(this.#object);
    this.#object = null;
  }
}
