import { closeSync } from 'node:fs';
import { libbpf } from '../../host/bpf/libbpf.ts';
import { BpfError } from '../../host/bpf/object.ts';
import { RingReader } from '../../host/bpf/ringbuf.ts';
import { pageSize } from '../../host/ffi/libc.ts';

/** BPF_MAP_TYPE_RINGBUF of include/uapi/linux/bpf.h. */
const RINGBUF = 27;

/** The ring all probes write to, made before them and given to each object in place of its own. */
export class SharedRing {
  readonly fd: number;
  readonly reader: RingReader;
  #open = true;

  /** @param size bytes; rounded up to a power of two of pages @throws BpfError */
  constructor(size: number) {
    let bytes = pageSize();
    while (bytes < size) bytes *= 2;
    this.fd = libbpf().mapCreate(RINGBUF, 'skl_ring', 0, 0, bytes, null);
    if (this.fd < 0) throw new BpfError('make the ring buffer', -this.fd);
    try {
      this.reader = new RingReader(this.fd, bytes);
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  /** After everything that reads it. Twice is safe. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.reader.close();
    closeSync(this.fd);
  }
}
