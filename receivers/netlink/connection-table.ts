/** Numbers remembered of a connection: segments sent again, data segments sent, µs busy, limited by window, limited by buffer. */
export const remembered = 5;

/** A row is one cache line of 64 bytes: cookie (2 × 32 bits), round (32 bits), 4 bytes of nothing, the numbers (5 × 64 bits). */
const rowWords = 16;
const rowDoubles = 8;
const valuesAt = 2;

/**
 * What each connection of one namespace said a round ago, by socket cookie: an open-addressing table in one buffer. Dumps come in the
 * order of the kernel's hash table, so that each connection costs a cache miss: exactly one, by this layout. Nothing is allocated in a
 * steady state; connections that are gone are thrown out when the table would have to grow.
 */
export class ConnectionTable {
  #capacity = 64;
  #words = new Uint32Array(this.#capacity * rowWords);
  #doubles = new Float64Array(this.#words.buffer);
  /** Rows in use, those of connections that are gone included. */
  #used = 0;
  #round = 1;
  #size = 0;

  /** Connections of this round so far. */
  get size(): number {
    return this.#size;
  }

  /** A round begins. */
  turn(): void {
    this.#round++;
    this.#size = 0;
  }

  /**
   * Remembers a connection's numbers and turns them into what has come since the last round.
   * @returns false when it was not known a round ago; the numbers are then left as they are.
   */
  difference(cookieLow: number, cookieHigh: number, values: Float64Array): boolean {
    if (this.#used * 4 >= this.#capacity * 3) this.#rebuild();
    const row = this.#place(cookieLow, cookieHigh);
    const words = this.#words;
    const at = row * rowWords;
    const before = words[at + 2] as number;
    if (before === 0) {
      this.#used++;
      words[at] = cookieLow;
      words[at + 1] = cookieHigh;
    }
    if (before !== this.#round) this.#size++;
    words[at + 2] = this.#round;
    const known = before === this.#round - 1 && before !== 0;
    const doubles = this.#doubles;
    let slot = row * rowDoubles + valuesAt;
    for (let i = 0; i < remembered; i++, slot++) {
      const now = values[i] as number;
      if (known) values[i] = Math.max(0, now - (doubles[slot] as number));
      doubles[slot] = now;
    }
    return known;
  }

  /** The row of a cookie, or the free one where it belongs. */
  #place(low: number, high: number): number {
    const mask = this.#capacity - 1;
    const words = this.#words;
    let row = (Math.imul(low, 0x9e3779b1) ^ high) & mask;
    for (;;) {
      const at = row * rowWords;
      if (words[at + 2] === 0 || (words[at] === low && words[at + 1] === high)) return row;
      row = (row + 1) & mask;
    }
  }

  /** Leaves out what was not there in the last round; the table gets the size that the rest needs. */
  #rebuild(): void {
    const words = this.#words;
    const oldest = Math.max(1, this.#round - 1);
    const kept: number[] = [];
    for (let at = 0; at < words.length; at += rowWords) if ((words[at + 2] as number) >= oldest) kept.push(at);
    this.#capacity = 64;
    while (kept.length * 2 >= this.#capacity) this.#capacity *= 2;
    this.#words = new Uint32Array(this.#capacity * rowWords);
    this.#doubles = new Float64Array(this.#words.buffer);
    this.#used = kept.length;
    for (const at of kept) {
      const to = this.#place(words[at] as number, words[at + 1] as number) * rowWords;
      for (let i = 0; i < rowWords; i++) this.#words[to + i] = words[at + i] as number;
    }
  }
}
