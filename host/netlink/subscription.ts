import { Errno, libc, SysError } from '../ffi/libc.ts';
import { Watch } from '../ffi/watch.ts';
import type { NetlinkMessage } from './message.ts';
import { type NetlinkOptions, NetlinkSocket } from './socket.ts';

const SOL_SOCKET = 1;
const SO_MEMINFO = 55;
/** `SK_MEMINFO_DROPS` of include/uapi/linux/sock_diag.h. */
const dropsIndex = 8;

export interface SubscriptionHandlers {
  /** One message, in place: take what you need, keep nothing. Must not throw; what it throws goes to `error`. */
  message(message: NetlinkMessage): void;
  /** The kernel had no room for messages and dropped them: what was derived from earlier ones is stale, ask again. */
  overflow(): void;
  /** The socket failed (and is closed), or `message` threw (and reading goes on). */
  error(error: unknown): void;
}

export interface SubscriptionOptions extends NetlinkOptions {
  /** Messages are read at once when the socket was idle, then in rounds this far apart until it is idle again. Default 20 ms. */
  readonly drainMs?: number;
  /** The event loop gets a turn after this long. Default 2 ms. */
  readonly sliceMs?: number;
}

/**
 * Multicast messages of a netlink family. The kernel wakes a reader per message (about 7 µs each), so the socket is watched only
 * while idle and read in rounds while busy.
 *
 * Nothing is lost silently: {@link lost} is the kernel's own count of messages dropped for want of room.
 */
export class NetlinkSubscription {
  readonly #socket: NetlinkSocket;
  readonly #handlers: SubscriptionHandlers;
  readonly #drainMs: number;
  readonly #sliceMs: number;
  readonly #watch: Watch;
  readonly #memory = Buffer.alloc(36);
  readonly #memoryLength = Buffer.from([36, 0, 0, 0]);
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #paused = false;
  #closed = false;
  #lost = 0;
  #malformed = 0;

  /** @throws SysError as `NetlinkSocket.open`. */
  constructor(options: SubscriptionOptions, handlers: SubscriptionHandlers) {
    this.#handlers = handlers;
    this.#drainMs = options.drainMs ?? 20;
    this.#sliceMs = options.sliceMs ?? 2;
    this.#socket = NetlinkSocket.open(options);
    const readable = () => {
      this.#watch.pause();
      this.#drain();
    };
    // After an overflow the socket has an error pending (ENOBUFS): libuv reports that as EBADF and stops polling. Receiving tells
    // what it is.
    this.#watch = new Watch(this.#socket.fd, readable, readable);
  }

  /** Messages that the kernel dropped on this socket since it was opened (`sk_drops`, one for each message). */
  get lost(): number {
    if (this.#closed) return this.#lost;
    const result = libc.getsockopt(this.#socket.fd, SOL_SOCKET, SO_MEMINFO, this.#memory, this.#memoryLength);
    if (result === 0) this.#lost = this.#memory.readUInt32LE(dropsIndex * 4);
    return this.#lost;
  }

  /** Datagrams whose lengths lied. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Stops reading; the kernel buffers, then drops and counts. */
  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    this.#unschedule();
    this.#watch.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.#watch.resume();
  }

  /** Twice is safe. */
  close(): void {
    if (this.#closed) return;
    this.#unschedule();
    void this.lost;
    this.#closed = true;
    this.#watch.close();
    this.#socket.close();
  }

  #unschedule(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }

  /** Reads until the socket is empty (then once more after a while) or the slice is used up (then goes on next turn). */
  #drain(): void {
    if (this.#closed || this.#paused) return;
    const ends = performance.now() + this.#sliceMs;
    let received = 0;
    for (;;) {
      const outcome = this.#receiveOne();
      if (outcome === 'closed') return;
      if (outcome === 'empty') break;
      received++;
      if (performance.now() >= ends) {
        this.#immediate = setImmediate(() => this.#drain());
        return;
      }
    }
    if (received === 0) this.#watch.resume();
    else this.#timer = setTimeout(() => this.#drain(), this.#drainMs);
  }

  #receiveOne(): 'message' | 'empty' | 'closed' {
    let datagram: NetlinkMessage | undefined;
    try {
      datagram = this.#socket.receive();
    } catch (error) {
      if (error instanceof SysError && error.errno === Errno.ENOBUFS) {
        this.#handlers.overflow();
        return this.#closed ? 'closed' : 'message';
      }
      this.close();
      this.#handlers.error(error);
      return 'closed';
    }
    if (datagram === undefined) return 'empty';
    while (datagram.next()) {
      this.#deliver(datagram);
      if (this.#closed) return 'closed';
    }
    if (datagram.malformed) this.#malformed++;
    return 'message';
  }

  #deliver(message: NetlinkMessage): void {
    try {
      this.#handlers.message(message);
    } catch (error) {
      this.#handlers.error(error);
    }
  }
}
