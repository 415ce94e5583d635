import koffi, { type KoffiFunc, type LibraryHandle } from 'koffi';
import { AbsentError } from '../../pipeline/errors.ts';
import { libc, loadLibrary, type Pointer } from '../ffi/libc.ts';

/**
 * The functions of libbpf (1.0 or newer; `libbpf.so.1`) that are in use. Conventions of libbpf 1.x: int functions return -errno,
 * pointer functions return NULL with the reason in errno, to be read by the very next statement.
 *
 * libbpf's print function is process-global and its callback runs on the thread that registered it: open and load BPF on one
 * thread only.
 */

// biome-ignore lint/suspicious/noExplicitAny: a C prototype is typed by hand at each use.
type AnyFunction = (...args: any[]) => any;

function bind(library: LibraryHandle) {
  const f = <T extends AnyFunction>(prototype: string): KoffiFunc<T> =>
    library.func(prototype) as unknown as KoffiFunc<T>;
  return {
    versionString: f<() => string>('const char *libbpf_version_string(void)'),
    setPrint: f<(callback: bigint | null) => Pointer>('void *libbpf_set_print(libbpf_print_fn_t *fn)'),
    openMem: f<(bytes: Buffer, size: number, options: Buffer) => Pointer>(
      'void *bpf_object__open_mem(const void *buf, size_t n, const void *opts)',
    ),
    load: f<(object: Pointer) => number>('int bpf_object__load(void *o)'),
    close: f<(object: Pointer) => void>('void bpf_object__close(void *o)'),
    nextProgram: f<(object: Pointer, previous: Pointer) => Pointer>('void *bpf_object__next_program(void *o, void *p)'),
    nextMap: f<(object: Pointer, previous: Pointer) => Pointer>('void *bpf_object__next_map(void *o, void *p)'),
    programName: f<(program: Pointer) => string>('const char *bpf_program__name(void *p)'),
    programSection: f<(program: Pointer) => string>('const char *bpf_program__section_name(void *p)'),
    programFd: f<(program: Pointer) => number>('int bpf_program__fd(void *p)'),
    setAutoload: f<(program: Pointer, on: boolean) => number>('int bpf_program__set_autoload(void *p, bool on)'),
    setAttachTarget: f<(program: Pointer, fd: number, name: string) => number>(
      'int bpf_program__set_attach_target(void *p, int fd, const char *name)',
    ),
    attach: f<(program: Pointer) => Pointer>('void *bpf_program__attach(void *p)'),
    attachKprobe: f<(program: Pointer, isReturn: boolean, name: string) => Pointer>(
      'void *bpf_program__attach_kprobe(void *p, bool retprobe, const char *name)',
    ),
    attachCgroup: f<(program: Pointer, fd: number) => Pointer>('void *bpf_program__attach_cgroup(void *p, int fd)'),
    attachIter: f<(program: Pointer, options: Pointer) => Pointer>('void *bpf_program__attach_iter(void *p, void *o)'),
    linkCreate: f<(program: number, target: number, type: number, options: Buffer | null) => number>(
      'int bpf_link_create(int prog, int target, int type, const void *opts)',
    ),
    linkFd: f<(link: Pointer) => number>('int bpf_link__fd(void *l)'),
    linkDestroy: f<(link: Pointer) => number>('int bpf_link__destroy(void *l)'),
    iterCreate: f<(link: number) => number>('int bpf_iter_create(int link_fd)'),
    mapName: f<(map: Pointer) => string>('const char *bpf_map__name(void *m)'),
    mapFd: f<(map: Pointer) => number>('int bpf_map__fd(void *m)'),
    mapType: f<(map: Pointer) => number>('int bpf_map__type(void *m)'),
    mapKeySize: f<(map: Pointer) => number>('uint32_t bpf_map__key_size(void *m)'),
    mapValueSize: f<(map: Pointer) => number>('uint32_t bpf_map__value_size(void *m)'),
    mapMaxEntries: f<(map: Pointer) => number>('uint32_t bpf_map__max_entries(void *m)'),
    mapSetMaxEntries: f<(map: Pointer, entries: number) => number>('int bpf_map__set_max_entries(void *m, uint32_t n)'),
    mapSetAutocreate: f<(map: Pointer, on: boolean) => number>('int bpf_map__set_autocreate(void *m, bool on)'),
    mapReuseFd: f<(map: Pointer, fd: number) => number>('int bpf_map__reuse_fd(void *m, int fd)'),
    mapInitialValue: f<(map: Pointer, size: BigUint64Array) => Pointer>(
      'void *bpf_map__initial_value(void *m, _Out_ size_t *sz)',
    ),
    mapSetInitialValue: f<(map: Pointer, bytes: Buffer, size: number) => number>(
      'int bpf_map__set_initial_value(void *m, const void *b, size_t n)',
    ),
    mapCreate: f<
      (type: number, name: string, key: number, value: number, entries: number, options: Buffer | null) => number
    >(
      'int bpf_map_create(int type, const char *name, uint32_t key, uint32_t value, uint32_t entries, const void *opts)',
    ),
    lookup: f<(fd: number, key: Buffer, value: Buffer) => number>(
      'int bpf_map_lookup_elem(int fd, const void *k, _Out_ void *v)',
    ),
    lookupAndDelete: f<(fd: number, key: Buffer, value: Buffer) => number>(
      'int bpf_map_lookup_and_delete_elem(int fd, const void *k, _Out_ void *v)',
    ),
    update: f<(fd: number, key: Buffer, value: Buffer, flags: number) => number>(
      'int bpf_map_update_elem(int fd, const void *k, const void *v, uint64_t fl)',
    ),
    remove: f<(fd: number, key: Buffer) => number>('int bpf_map_delete_elem(int fd, const void *k)'),
    nextKey: f<(fd: number, key: Buffer | null, next: Buffer) => number>(
      'int bpf_map_get_next_key(int fd, const void *k, _Out_ void *n)',
    ),
    lookupBatch: f<
      (
        fd: number,
        from: Buffer | null,
        to: Buffer,
        keys: Buffer,
        values: Buffer,
        count: Uint32Array,
        options: Buffer,
      ) => number
    >(
      'int bpf_map_lookup_batch(int fd, void *from, _Out_ void *to, _Out_ void *keys, _Out_ void *values, _Inout_ uint32_t *count, const void *opts)',
    ),
    testRun: f<(fd: number, options: Buffer) => number>('int bpf_prog_test_run_opts(int fd, _Inout_ void *opts)'),
    objectInfo: f<(fd: number, info: Buffer, length: Uint32Array) => number>(
      'int bpf_obj_get_info_by_fd(int fd, _Inout_ void *info, _Inout_ uint32_t *len)',
    ),
    enableStats: f<(type: number) => number>('int bpf_enable_stats(int type)'),
    possibleCpus: f<() => number>('int libbpf_num_possible_cpus(void)'),
  } as const;
}

export type Libbpf = ReturnType<typeof bind>;

let bound: Libbpf | undefined;
let printer: bigint | undefined;
const messages: string[] = [];
const formatted = Buffer.alloc(64 * 1024);

/** libbpf's messages of level WARN since the last call, verifier logs included. */
export function takeMessages(): string {
  return messages.splice(0).join('');
}

/** libbpf calls this for each message; the va_list arrives as a pointer on x86-64 and arm64 alike. */
function onMessage(level: number, format: bigint, args: bigint): number {
  if (level > 0) return 0;
  const n = libc.vsnprintf(formatted, formatted.length, format, args);
  messages.push(formatted.toString('utf8', 0, Math.min(n, formatted.length - 1)));
  return n;
}

/**
 * libbpf of this machine, loaded at first use. `LIBBPF` names another file.
 *
 * @throws AbsentError when there is none, or only one from before 1.0.
 */
export function libbpf(): Libbpf {
  if (bound) return bound;
  const custom = process.env['LIBBPF'];
  const library = loadLibrary(...(custom === undefined ? ['libbpf.so.1'] : [custom]));
  if (!library) {
    throw new AbsentError(`No ${custom ?? 'libbpf.so.1'} on this machine.`, {
      hint: 'Install the package libbpf1 (Debian, Ubuntu) or libbpf (Fedora, Alpine), version 1.0 or newer.',
    });
  }
  koffi.proto('int libbpf_print_fn_t(int level, void *fmt, void *ap)');
  const functions = bind(library);
  printer = koffi.register(onMessage, 'libbpf_print_fn_t *');
  functions.setPrint(printer);
  bound = functions;
  return functions;
}

let cpus: number | undefined;
/** CPUs that may ever be online: the number of values of a per-CPU map's entry. */
export function possibleCpus(): number {
  cpus ??= libbpf().possibleCpus();
  return cpus;
}
