import { check, Errno, lastErrno, libc, SysError } from '../ffi/libc.ts';
import { Watch } from '../ffi/watch.ts';
import { inNetns } from '../netns/enter.ts';
import { AttributeCursor } from './attributes.ts';
import {
  NetlinkMessage,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_MIN_TYPE,
  NLMSG_OVERRUN,
} from './message.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

/** `struct sockaddr_nl` of the kernel: family, port 0, no groups. */
const kernelAddress = Buffer.from([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/**
 * All sockets of a thread receive into one buffer: a datagram is read to its end before the next is received. The kernel fills
 * dumps to at most 32 KiB (netlink_dump() in net/netlink/af_netlink.c); single messages may be larger.
 */
const shared = new NetlinkMessage(Buffer.allocUnsafeSlow(256 * 1024));

/** Opening. */
export interface NetlinkOptions {
  /** One of `NetlinkProtocol`. */
  readonly protocol: number;
  /** Network namespace to open it in (path or descriptor; see `inNetns`). Default: this process's. */
  readonly netns?: string | number;
  /** Receive buffer, bytes; beyond the system's limit with CAP_NET_ADMIN. For multicast. */
  readonly receiveBufferBytes?: number;
  /** Multicast groups to join. */
  readonly groups?: readonly number[];
  /** Ask the kernel to check requests strictly (≥ 4.20), so that filters are honoured and not ignored. Default true. */
  readonly strict?: boolean;
}

/**
 * Called for each message of an answer; `false` abandons the dump (and closes the socket). It must not make another netlink request
 * itself: all sockets of a thread receive into one buffer.
 */
export type MessageVisitor = (message: NetlinkMessage) => unknown;

export interface DumpOptions {
  /** Give the event loop a turn after this long. Default 2 ms. */
  readonly sliceMs?: number;
  /** Give up when the kernel says nothing for this long. Default 5 s. */
  readonly timeoutMs?: number;
  /** Called before the dump is repeated because the table changed under it: forget what was visited. Absent: not repeated. */
  readonly restart?: () => void;
}

export interface DumpOutcome {
  /** Data messages visited (of the last try). */
  readonly messages: number;
  /** The table changed during the dump, and no try was without: entries may be missing or double. */
  readonly interrupted: boolean;
  /** Datagrams whose lengths lied; the rest of each was not used. */
  readonly malformed: number;
  /** The visitor abandoned the dump. */
  readonly stopped: boolean;
}

/** An error the kernel answered with, with its own explanation where it gave one. */
export class NetlinkError extends SysError {}

const dumpTries = 3;

/**
 * A netlink socket: non-blocking, close-on-exec, optionally in another network namespace. One request at a time; further ones wait.
 * An open socket keeps its network namespace alive: close it soon.
 */
export class NetlinkSocket {
  readonly fd: number;
  #sequence = 0;
  #closed = false;
  #tail: Promise<unknown> = Promise.resolve();
  #busy = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** @throws SysError: EPERM, ENOENT (namespace gone), EPROTONOSUPPORT (kernel has no such protocol), EMFILE. */
  static open(options: NetlinkOptions): NetlinkSocket {
    const { protocol, netns } = options;
    const make = () => check('socket', libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
    const fd = netns === undefined ? make() : inNetns(netns, make);
    try {
      configure(fd, options);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return new NetlinkSocket(fd);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Twice is safe. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    libc.close(this.fd);
  }

  /**
   * Sends a request (see `netlinkRequest`) and visits each message of the answer, giving way to the event loop every few
   * milliseconds. NLM_F_DUMP is added.
   *
   * @throws NetlinkError when the kernel refuses, SysError when the socket fails.
   */
  dump(request: Buffer, visit: MessageVisitor, options: DumpOptions = {}): Promise<DumpOutcome> {
    request.writeUInt16LE(request.readUInt16LE(6) | NLM_F_DUMP, 6);
    return this.#inTurn(() => this.#dumpAgainWhileInterrupted(request, visit, options));
  }

  /** Sends a request that is no dump and waits for the kernel's acknowledgement; what it answers before is visited. */
  request(request: Buffer, visit: MessageVisitor = () => undefined, options: DumpOptions = {}): Promise<DumpOutcome> {
    request.writeUInt16LE(request.readUInt16LE(6) | NLM_F_ACK, 6);
    return this.#inTurn(() => this.#transact(request, visit, options));
  }

  /**
   * Receives one datagram if there is one (for multicast): the walker over it, or undefined when nothing is there.
   * @throws SysError ENOBUFS when the kernel had to drop messages for want of room.
   */
  receive(): NetlinkMessage | undefined {
    for (;;) {
      const length = libc.recv(this.fd, shared.buffer, shared.buffer.length, MSG_DONTWAIT | MSG_TRUNC);
      if (length >= 0) return shared.reset(length);
      const errno = lastErrno();
      if (errno === Errno.EAGAIN) return undefined;
      if (errno !== Errno.EINTR) throw new SysError('recv', errno);
    }
  }

  /** Runs at once when idle, so that a small answer costs no turn of the loop. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#busy ? this.#tail.then(run, run) : run();
    this.#busy = true;
    const tail = turn.then(
      () => undefined,
      () => undefined,
    );
    this.#tail = tail;
    void tail.then(() => {
      if (this.#tail === tail) this.#busy = false;
    });
    return turn;
  }

  async #dumpAgainWhileInterrupted(request: Buffer, visit: MessageVisitor, options: DumpOptions): Promise<DumpOutcome> {
    for (let tries = 1; ; tries++) {
      const outcome = await this.#transact(request, visit, options);
      if (!outcome.interrupted || options.restart === undefined || tries === dumpTries) return outcome;
      options.restart();
    }
  }

  async #transact(request: Buffer, visit: MessageVisitor, options: DumpOptions): Promise<DumpOutcome> {
    if (this.#closed) throw new SysError('sendto', 9, 'the socket is closed');
    const sequence = (this.#sequence + 1) >>> 0;
    this.#sequence = sequence;
    request.writeUInt32LE(sequence, 8);
    check('sendto', libc.sendto(this.fd, request, request.length, 0, kernelAddress, kernelAddress.length));
    const answer = new Answer(sequence, visit);
    const sliceMs = options.sliceMs ?? 2;
    let sliceEnds = performance.now() + sliceMs;
    for (;;) {
      const datagram = this.receive();
      if (datagram === undefined) {
        await this.#readable(options.timeoutMs ?? 5000);
      } else if (answer.take(datagram)) {
        if (answer.stopped) this.close();
        return answer;
      } else if (performance.now() < sliceEnds) {
        continue;
      } else {
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (this.#closed) throw new SysError('recv', 9, 'the socket was closed during a request');
      sliceEnds = performance.now() + sliceMs;
    }
  }

  #readable(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (error?: unknown) => {
        clearTimeout(timer);
        watch.close();
        if (error === undefined) resolve();
        else reject(error);
      };
      const timer = setTimeout(() => finish(new SysError('recv', 110, 'no answer from the kernel')), timeoutMs);
      const watch = new Watch(this.fd, () => finish(), finish);
    });
  }
}

/** What has come of one request so far. */
class Answer implements DumpOutcome {
  messages = 0;
  interrupted = false;
  malformed = 0;
  stopped = false;
  readonly #sequence: number;
  readonly #visit: MessageVisitor;

  constructor(sequence: number, visit: MessageVisitor) {
    this.#sequence = sequence;
    this.#visit = visit;
  }

  /** Takes one datagram; true when the answer is complete. @throws NetlinkError */
  take(m: NetlinkMessage): boolean {
    while (m.next()) {
      if (m.sequence !== this.#sequence) continue;
      if ((m.flags & NLM_F_DUMP_INTR) !== 0) this.interrupted = true;
      if (m.type >= NLMSG_MIN_TYPE) {
        this.messages++;
        if (this.#visit(m) === false) {
          this.stopped = true;
          return true;
        }
      } else if (m.type === NLMSG_DONE || m.type === NLMSG_ERROR) {
        throwIfError(m);
        return true;
      } else if (m.type === NLMSG_OVERRUN) {
        throw new SysError('netlink', Errno.ENOBUFS, 'overrun');
      }
    }
    if (m.malformed) this.malformed++;
    return false;
  }
}

/** Both an error message and the end of a dump begin with an errno (0 or negative). */
function throwIfError(m: NetlinkMessage): void {
  if (m.end - m.start < 4) return;
  const error = m.view.getInt32(m.start, true);
  if (error < 0) throw new NetlinkError('netlink', -error, explanation(m));
}

const NLMSGERR_ATTR_MSG = 1;
const explanationCursor = new AttributeCursor();

/** The kernel's own words (extended ack): behind the quoted request, or right behind the errno of an end of dump. */
export function explanation(m: NetlinkMessage): string | undefined {
  if ((m.flags & NLM_F_ACK_TLVS) === 0) return undefined;
  let at = m.start + 4;
  if (m.type === NLMSG_ERROR) {
    if (m.end - at < 16) return undefined;
    const quoted = (m.flags & NLM_F_CAPPED) === 0 ? m.view.getUint32(at, true) : 16;
    at += (Math.max(16, quoted) + 3) & ~3;
  }
  explanationCursor.reset(m.view, at, m.end);
  while (explanationCursor.next()) if (explanationCursor.type === NLMSGERR_ATTR_MSG) return explanationCursor.text();
  return undefined;
}

/** An option's value for the time of the call: sockets are opened by the hundred each round. */
const word = Buffer.alloc(4);

function setOption(fd: number, level: number, option: number, value: number): number {
  word.writeInt32LE(value);
  return libc.setsockopt(fd, level, option, word, 4);
}

function configure(fd: number, options: NetlinkOptions): void {
  // Both are of kernel 4.12 and 4.20: an older one refuses, and works without.
  setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  if (options.strict ?? true) setOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  const { receiveBufferBytes } = options;
  if (receiveBufferBytes !== undefined && setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes) < 0) {
    check('setsockopt SO_RCVBUF', setOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes));
  }
  const groups = options.groups ?? [];
  if (groups.length > 0) check('bind', libc.bind(fd, kernelAddress, kernelAddress.length));
  for (const group of groups) {
    check(`setsockopt NETLINK_ADD_MEMBERSHIP ${group}`, setOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group));
  }
}
