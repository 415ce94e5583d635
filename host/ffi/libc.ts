import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import koffi, { type KoffiFunc, type LibraryHandle } from 'koffi';
import { AgentError } from '../../pipeline/errors.ts';

/** A C pointer as koffi 3 hands it over: bigint, or null for NULL. */
export type Pointer = bigint | null;

/** A failed system call. `code` is the errno name (`EPERM`), `errno` its number, `call` what was tried. */
export class SysError extends AgentError {
  readonly errno: number;
  readonly call: string;
  constructor(call: string, errno: number, detail?: string) {
    super(errnoName(errno), `${call}: ${errnoText(errno)}${detail === undefined ? '' : ` (${detail})`}`);
    this.name = 'SysError';
    this.errno = errno;
    this.call = call;
  }
}

/** `ENOENT` for 2. Numbers without a name (kernel-internal ones such as ENOTSUPP 524) come back as `ERRNO_524`. */
export function errnoName(errno: number): string {
  const internal = kernelErrno[errno];
  if (internal !== undefined) return internal;
  const name = safely(() => getSystemErrorName(-errno));
  return name === undefined || name.startsWith('Unknown') ? `ERRNO_${errno}` : name;
}

/** `no such file or directory` for 2. */
export function errnoText(errno: number): string {
  const text = safely(() => getSystemErrorMessage(-errno));
  return text === undefined || text.startsWith('Unknown') ? errnoName(errno) : `${errnoName(errno)}, ${text}`;
}

// libuv has no name for these; include/uapi/asm-generic/errno.h and include/linux/errno.h.
const kernelErrno: Readonly<Record<number, string>> = {
  11: 'EAGAIN',
  105: 'ENOBUFS',
  61: 'ENODATA',
  95: 'EOPNOTSUPP',
  524: 'ENOTSUPP',
};

function safely<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch {
    return undefined;
  }
}

/** Errno numbers that callers compare with (x86-64 and arm64: asm-generic). */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EAGAIN: 11,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOBUFS: 105,
  EOPNOTSUPP: 95,
  ENOSPC: 28,
} as const;

/** Loads a shared library by one of its names; undefined when none is there. */
export function loadLibrary(...names: readonly string[]): LibraryHandle | undefined {
  for (const name of names) {
    const library = safely(() => koffi.load(name));
    if (library) return library;
  }
  return undefined;
}

const library = loadLibrary('libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so');

// biome-ignore lint/suspicious/noExplicitAny: a C prototype is typed by hand at each use.
type AnyFunction = (...args: any[]) => any;

/** Declares a libc function by its C prototype; on a machine without libc (tests on other systems) it throws when called. */
function declare<T extends AnyFunction>(prototype: string): KoffiFunc<T> {
  if (library) return library.func(prototype) as unknown as KoffiFunc<T>;
  const missing = () => {
    throw new AgentError('E_NO_LIBC', `No C library found: ${prototype} is not available.`);
  };
  return missing as unknown as KoffiFunc<T>;
}

/** A function that not every C library has; undefined where it lacks. */
export function libcFunction<T extends AnyFunction>(prototype: string): KoffiFunc<T> | undefined {
  return safely(() => library?.func(prototype) as unknown as KoffiFunc<T> | undefined);
}

/**
 * The C library. Return values are C's: -1 with the reason in {@link lastErrno}, which must be read by the very next statement
 * (or use {@link check}). Buffers are passed by address, not copied.
 */
export const libc = {
  mmap: declare<(addr: Pointer, length: number, prot: number, flags: number, fd: number, offset: number) => bigint>(
    'void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)',
  ),
  munmap: declare<(addr: Pointer, length: number) => number>('int munmap(void *addr, size_t length)'),
  close: declare<(fd: number) => number>('int close(int fd)'),
  sysconf: declare<(name: number) => number>('long sysconf(int name)'),
  syscall: declare<(number: number, a: number, b: Pointer | Buffer, c: number) => number>(
    'long syscall(long number, long a, void *b, long c)',
  ),
  poll: declare<(fds: Buffer, count: number, timeoutMs: number) => number>(
    'int poll(_Inout_ void *fds, unsigned long count, int timeout)',
  ),
  epoll_create1: declare<(flags: number) => number>('int epoll_create1(int flags)'),
  epoll_ctl: declare<(ep: number, op: number, fd: number, event: Buffer) => number>(
    'int epoll_ctl(int epfd, int op, int fd, void *event)',
  ),
  epoll_wait: declare<(ep: number, events: Buffer, max: number, timeoutMs: number) => number>(
    'int epoll_wait(int epfd, _Out_ void *events, int max, int timeout)',
  ),
  socket: declare<(domain: number, type: number, protocol: number) => number>(
    'int socket(int domain, int type, int protocol)',
  ),
  bind: declare<(fd: number, address: Buffer, length: number) => number>(
    'int bind(int fd, const void *address, uint32_t length)',
  ),
  connect: declare<(fd: number, address: Buffer, length: number) => number>(
    'int connect(int fd, const void *address, uint32_t length)',
  ),
  getsockname: declare<(fd: number, address: Buffer, length: Buffer) => number>(
    'int getsockname(int fd, _Out_ void *address, _Inout_ void *length)',
  ),
  sendto: declare<
    (fd: number, data: Buffer, length: number, flags: number, address: Buffer | null, addressLength: number) => number
  >('int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t alen)'),
  recv: declare<(fd: number, into: Buffer, length: number, flags: number) => number>(
    'int64_t recv(int fd, _Out_ void *into, size_t length, int flags)',
  ),
  setsockopt: declare<(fd: number, level: number, option: number, value: Buffer, length: number) => number>(
    'int setsockopt(int fd, int level, int option, const void *value, uint32_t length)',
  ),
  getsockopt: declare<(fd: number, level: number, option: number, value: Buffer, length: Buffer) => number>(
    'int getsockopt(int fd, int level, int option, _Out_ void *value, _Inout_ void *length)',
  ),
  setns: declare<(fd: number, type: number) => number>('int setns(int fd, int type)'),
  unshare: declare<(flags: number) => number>('int unshare(int flags)'),
  gettid: declare<() => number>('int gettid(void)'),
  fcntl: declare<(fd: number, command: number, argument: number) => number>(
    'int fcntl(int fd, int command, long argument)',
  ),
  ioctl: declare<(fd: number, request: number, argument: number) => number>(
    'int ioctl(int fd, unsigned long request, unsigned long argument)',
  ),
  vsnprintf: declare<(into: Buffer, size: number, format: Pointer, args: Pointer) => number>(
    'int vsnprintf(_Out_ void *into, size_t size, const void *format, void *args)',
  ),
} as const;

/** errno of the last call made through koffi on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Passes a C result on. @throws SysError when it is negative, with errno. Call it with the result directly. */
export function check(call: string, result: number): number {
  if (result < 0) throw new SysError(call, koffi.errno());
  return result;
}

/** An ArrayBuffer over memory the kernel or a library owns. Touching it after munmap or free kills the process. */
export function viewMemory(address: bigint, length: number): ArrayBuffer {
  return koffi.view(address, length);
}

/** `sysconf(_SC_PAGESIZE)`: 4096 on x86-64; 16384 or 65536 on some arm64 kernels. */
export function pageSize(): number {
  return libc.sysconf(30);
}

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
/** mmap's error value, `(void *)-1`. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
