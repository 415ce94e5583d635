import koffi from 'koffi';
import { SysError } from './libc.ts';

/** What koffi's poll handle really does (3.3; its declarations leave out the status argument and stop/start). */
interface PollHandle {
  start(options: { readable: boolean }, callback: (status: number) => void): void;
  stop(): void;
  close(): void;
  ref(): void;
  unref(): void;
}
type Poll = (fd: number, options: { readable: boolean }, callback: (status: number) => void) => PollHandle;

/** A handle that nothing refers to is collected and polling stops without a word: open ones are kept here. */
const open = new Set<Watch>();
const nothing = (): void => {};

/**
 * Calls back when a file descriptor is readable, in the event loop of the current thread (main or worker).
 *
 * Level-triggered: called again and again until the data is read or {@link pause} is called. Close it before the descriptor.
 * The callback may throw: the error goes to `onError` (left pending in koffi it would surface at an unrelated call). So does EBADF,
 * which libuv makes of any error pending on a socket; polling has then stopped until {@link resume}.
 */
export class Watch {
  readonly fd: number;
  readonly #fire: (status: number) => void;
  #handle: PollHandle | undefined;

  constructor(fd: number, onReadable: () => void, onError: (error: unknown) => void) {
    this.fd = fd;
    this.#fire = (status) => {
      try {
        if (this.#handle === undefined) return;
        if (status < 0) throw new SysError('poll', -status);
        onReadable();
      } catch (error) {
        onError(error);
      }
      // Without a turn of the loop, promises resolved in a raw poll callback hang until the next event (Node 26).
      setImmediate(nothing);
    };
    this.#handle = (koffi.node.poll as unknown as Poll)(fd, { readable: true }, this.#fire);
    open.add(this);
  }

  /** Stops calling back until {@link resume}. */
  pause(): void {
    this.#handle?.stop();
  }

  resume(): void {
    this.#handle?.start({ readable: true }, this.#fire);
  }

  /** Keeps the process alive while open (the default). */
  ref(): void {
    this.#handle?.ref();
  }

  /** Lets the process end although this is open. */
  unref(): void {
    this.#handle?.unref();
  }

  /** Twice is safe. */
  close(): void {
    this.#handle?.close();
    this.#handle = undefined;
    open.delete(this);
  }
}
