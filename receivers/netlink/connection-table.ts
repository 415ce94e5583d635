/** Fields remembered of a connection: segments sent again, data segments sent, µs busy, limited by window, limited by buffer. */
export const remembered = 5;

/**
 * What each connection of one namespace said a round ago, by socket cookie: two open-addressing tables in typed arrays, one of the last
 * round and one of this, so that what is gone is forgotten without being looked for. About 50 bytes a connection, nothing allocated
 * in a steady state.
 */
export class ConnectionTable {
  #last = new Table(64);
  #now = new Table(64);

  get size(): number {
    return this.#now.size;
  }

  /** A round begins: what was remembered becomes the past. */
  turn(): void {
    const old = this.#last;
    this.#last = this.#now;
    this.#now = old.capacity > 64 && old.capacity > 8 * this.#last.size ? new Table(64) : old;
    this.#now.clear();
  }

  /**
   * Remembers a connection's values and turns them into what has come since the last round.
   * @returns false when it was not known a round ago; the values are then left as they are.
   */
  difference(cookieLow: number, cookieHigh: number, values: Float64Array): boolean {
    this.#now.put(cookieLow, cookieHigh, values);
    const at = this.#last.find(cookieLow, cookieHigh);
    if (at < 0) return false;
    const before = this.#last.values;
    for (let i = 0; i < remembered; i++) {
      values[i] = Math.max(0, (values[i] as number) - (before[at * remembered + i] as number));
    }
    return true;
  }
}

class Table {
  capacity: number;
  size = 0;
  values: Float64Array;
  #keys: Uint32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.values = new Float64Array(capacity * remembered);
    this.#keys = new Uint32Array(capacity * 2);
  }

  clear(): void {
    if (this.size > 0) this.#keys.fill(0);
    this.size = 0;
  }

  /** Place of a key, or -1. Cookies are never 0. */
  find(low: number, high: number): number {
    const at = this.#place(low, high);
    return this.#keys[at * 2] === 0 && this.#keys[at * 2 + 1] === 0 ? -1 : at;
  }

  put(low: number, high: number, values: Float64Array): void {
    if (this.size * 2 >= this.capacity) this.#grow();
    const at = this.#place(low, high);
    if (this.#keys[at * 2] === 0 && this.#keys[at * 2 + 1] === 0) this.size++;
    this.#keys[at * 2] = low;
    this.#keys[at * 2 + 1] = high;
    for (let i = 0; i < remembered; i++) this.values[at * remembered + i] = values[i] as number;
  }

  #place(low: number, high: number): number {
    const mask = this.capacity - 1;
    let at = (Math.imul(low, 0x9e3779b1) ^ high) & mask;
    for (;;) {
      const l = this.#keys[at * 2];
      const h = this.#keys[at * 2 + 1];
      if ((l === low && h === high) || (l === 0 && h === 0)) return at;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.values;
    const capacity = this.capacity;
    this.capacity *= 2;
    this.values = new Float64Array(this.capacity * remembered);
    this.#keys = new Uint32Array(this.capacity * 2);
    this.size = 0;
    for (let i = 0; i < capacity; i++) {
      const low = keys[i * 2] as number;
      const high = keys[i * 2 + 1] as number;
      if (low !== 0 || high !== 0) this.put(low, high, values.subarray(i * remembered, (i + 1) * remembered));
    }
  }
}
