import {
  lastErrno,
  libc,
  MAP_FAILED,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  pageSize,
  SysError,
  viewMemory,
} from '../ffi/libc.ts';

/** Header bits of a record (include/uapi/linux/bpf.h, BPF_RINGBUF_*). Busy is bit 31: the header read as int32 is negative. */
const DISCARD = 0x4000_0000;
const LENGTH = 0x3fff_ffff;

/**
 * Whether this CPU shows loads in the order of the program (x86-64 does, arm64 does not): a plain load of a header is then as good as an
 * Atomics.load, which is a call of 8 ns, half of what a record costs.
 */
const loadsInOrder = process.arch === 'x64';

/** Views over the ring's data pages. Offsets given to the callback count into each of them (in bytes). */
export interface RingView {
  readonly u8: Buffer;
  readonly u32: Uint32Array;
  readonly data: DataView;
}

function mapPages(fd: number, length: number, prot: number, offset: number): bigint {
  const at = libc.mmap(null, length, prot, MAP_SHARED, fd, offset);
  const errno = lastErrno();
  if (BigInt.asUintN(64, at) === MAP_FAILED) throw new SysError('mmap of a BPF ring', errno);
  return at;
}

/**
 * Reads a BPF_MAP_TYPE_RINGBUF in place: the kernel's pages are the memory the records are decoded from. A record is valid until
 * the callback returns. Positions are handled as the low 32 bits (distances are below 2 GiB), the consumer position is
 * published as one 64-bit store.
 */
export class RingReader {
  readonly size: number;
  readonly view: RingView;
  #consumer: BigInt64Array | undefined;
  #producer: Int32Array;
  #headers: Int32Array;
  readonly #mask: number;
  readonly #batch: number;
  readonly #page: number;
  readonly #consumerAt: bigint;
  readonly #producerAt: bigint;
  #position: number;
  /** Records the producer had reserved and not committed when we came to them. */
  busyStops = 0;
  discarded = 0;

  /** @param size the map's max_entries, bytes */
  constructor(fd: number, size: number) {
    this.size = size;
    this.#page = pageSize();
    this.#mask = size - 1;
    this.#batch = size >>> 2;
    this.#consumerAt = mapPages(fd, this.#page, PROT_READ | PROT_WRITE, 0);
    this.#producerAt = mapPages(fd, this.#page + 2 * size, PROT_READ, this.#page);
    this.#consumer = new BigInt64Array(viewMemory(this.#consumerAt, this.#page), 0, 1);
    const memory = viewMemory(this.#producerAt, this.#page + 2 * size);
    this.#producer = new Int32Array(memory, 0, 2);
    this.#headers = new Int32Array(memory, this.#page);
    this.view = {
      u8: Buffer.from(memory, this.#page),
      u32: new Uint32Array(memory, this.#page),
      data: new DataView(memory, this.#page),
    };
    this.#position = Number(Atomics.load(this.#consumer, 0));
  }

  /** Bytes written (or being written) and not read. */
  get backlog(): number {
    return this.#consumer ? (Atomics.load(this.#producer, 0) - (this.#position | 0)) | 0 : 0;
  }

  /**
   * Hands at most `max` records to `record(offset, length)`. `record` must not throw and must not keep views into the ring.
   *
   * @returns how many; fewer than `max` = the ring is empty, or its next record is still being written
   */
  consume(record: (offset: number, length: number) => void, max: number): number {
    const consumer = this.#consumer;
    if (!consumer) return 0;
    const producer = this.#producer;
    const headers = this.#headers;
    const mask = this.#mask;
    const batch = this.#batch;
    let low = Number(BigInt.asIntN(32, BigInt(this.#position)));
    let published = low;
    let n = 0;
    reading: for (;;) {
      const end = Atomics.load(producer, 0);
      if (low === end) break;
      do {
        const at = low & mask;
        // What the record holds is read after this says that it is complete.
        const header = loadsInOrder ? headers[at >>> 2]! : Atomics.load(headers, at >>> 2);
        if (header < 0) {
          this.busyStops++;
          break reading;
        }
        const length = header & LENGTH;
        low = (low + ((length + 15) & ~7)) | 0;
        if ((header & DISCARD) !== 0) {
          this.discarded++;
        } else {
          record(at + 8, length);
          n++;
        }
        if (((low - published) | 0) >= batch) {
          this.#publish((low - published) | 0);
          published = low;
        }
        if (n >= max) break reading;
      } while (low !== end);
      // Publish, then look again: the kernel wakes us only when it sees that we had caught up.
      this.#publish((low - published) | 0);
      published = low;
    }
    if (published !== low) this.#publish((low - published) | 0);
    return n;
  }

  /** Gives the room of what was read back to the kernel. */
  #publish(bytes: number): void {
    this.#position += bytes;
    if (this.#consumer) Atomics.store(this.#consumer, 0, BigInt(this.#position));
  }

  /** Unmaps. Views obtained from {@link view} must not be touched any more. Twice is safe. */
  close(): void {
    if (!this.#consumer) return;
    this.#consumer = undefined;
    this.#producer = new Int32Array(2);
    this.#headers = new Int32Array(1);
    Object.assign(this.view, { u8: Buffer.alloc(0), u32: new Uint32Array(0), data: new DataView(new ArrayBuffer(0)) });
    libc.munmap(this.#consumerAt, this.#page);
    libc.munmap(this.#producerAt, this.#page + 2 * this.size);
  }
}
