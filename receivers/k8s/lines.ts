/**
 * Cuts a stream of bytes into lines, each at most so long: what is longer is thrown away up to its end without being kept, so that a server
 * cannot make us hold what it likes.
 */
export class LineCutter {
  readonly #maxBytes: number;
  readonly #onLine: (line: string) => void;
  readonly #onTooLong: () => void;
  #parts: Buffer[] = [];
  #bytes = 0;
  #skipping = false;

  constructor(maxBytes: number, onLine: (line: string) => void, onTooLong: () => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
    this.#onTooLong = onTooLong;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      this.#add(chunk.subarray(from, end));
      this.#end();
      from = end + 1;
    }
    this.#add(chunk.subarray(from));
  }

  /** Bytes of a line that has not ended: the stream was cut within it when this is not 0. */
  get pending(): number {
    return this.#bytes;
  }

  #add(part: Buffer): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) {
      this.#skipping = true;
      this.#parts = [];
    }
    if (!this.#skipping) this.#parts.push(part);
  }

  #end(): void {
    const { length } = this.#parts;
    const line =
      this.#skipping || length === 0 ? undefined : length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    const tooLong = this.#skipping;
    this.#parts = [];
    this.#bytes = 0;
    this.#skipping = false;
    if (tooLong) this.#onTooLong();
    else if (line !== undefined) this.#onLine(line.toString('utf8'));
  }
}
