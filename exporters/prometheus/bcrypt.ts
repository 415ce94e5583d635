import { timingSafeEqual } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';

/**
 * Checks a password against a bcrypt hash (Provos and Mazières, "A Future-Adaptable Password Scheme", USENIX 1999): what exporter-toolkit's
 * `basic_auth_users` holds and `htpasswd -B` makes. Only checking; hashes are made elsewhere. Neither Node nor a dependency of
 * this project has bcrypt; the tests prove this one against libxcrypt's and published vectors.
 *
 * Blowfish's tables are the first 33 344 bits of the fraction of π: computed, not copied.
 */

/** `$2b$10$` + 22 characters of salt + 31 of hash. 2a and 2b differ from 2y only in bugs of their writers. */
const pattern = /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/;
const alphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Rounds between two turns of the event loop: about 1 ms. */
const roundsPerTurn = 16;

export function isBcryptHash(text: string): boolean {
  return pattern.test(text);
}

/** Computes the tables now (some 40 ms) rather than while a scraper waits. */
export function prepareBcrypt(): void {
  piWords();
}

/** True when `hash` is the bcrypt hash of `password`. False for what is no bcrypt hash. Costs 2^cost rounds of 65 µs. */
export async function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  const m = pattern.exec(hash);
  if (!m) return false;
  const salt = decode64(m[2]!, 16);
  const expected = decode64(m[3]!, 23);
  const actual = await bcryptRaw(passwordKey(password), salt, Number(m[1]));
  return timingSafeEqual(actual, expected);
}

/** The password's UTF-8 bytes and the terminating zero, cut at 72 bytes as every implementation does. */
function passwordKey(password: string): Buffer {
  return Buffer.from(`${password}\0`).subarray(0, 72);
}

/** bcrypt's own base 64: another alphabet, no padding. */
function decode64(text: string, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const c of text) {
    bits = ((bits << 6) | alphabet.indexOf(c)) & 0xffff;
    held += 6;
    if (held >= 8 && at < bytes) {
      held -= 8;
      out[at++] = (bits >> held) & 0xff;
    }
  }
  return out;
}

async function bcryptRaw(key: Buffer, salt: Buffer, cost: number): Promise<Buffer> {
  const state = new Blowfish();
  state.expand(key, salt);
  const rounds = 2 ** cost;
  for (let i = 0; i < rounds; i++) {
    state.expand(key, undefined);
    state.expand(salt, undefined);
    if (i % roundsPerTurn === roundsPerTurn - 1) await turn();
  }
  const text = Buffer.from('OrpheanBeholderScryDoubt');
  const out = Buffer.alloc(24);
  for (let block = 0; block < 24; block += 8) {
    state.left = text.readInt32BE(block);
    state.right = text.readInt32BE(block + 4);
    for (let i = 0; i < 64; i++) state.encrypt();
    out.writeInt32BE(state.left, block);
    out.writeInt32BE(state.right, block + 4);
  }
  // The last byte of the third block was lost in the first implementation, and is left out ever since.
  return out.subarray(0, 23);
}

const subkeys = 18;
const boxWords = 4 * 256;

/** Blowfish (Schneier, 1993) with bcrypt's salted key schedule. */
class Blowfish {
  readonly #p: Int32Array;
  readonly #s: Int32Array;
  left = 0;
  right = 0;

  constructor() {
    const words = piWords();
    this.#p = words.slice(0, subkeys);
    this.#s = words.slice(subkeys, subkeys + boxWords);
  }

  /** ExpandKey: mixes the key into the subkeys, then replaces subkeys and boxes by what the cipher makes of the salt (or of zeros). */
  expand(key: Buffer, salt: Buffer | undefined): void {
    const p = this.#p;
    for (let i = 0; i < subkeys; i++) p[i]! ^= cyclicWord(key, i);
    this.left = 0;
    this.right = 0;
    let half = 0;
    half = this.#replace(p, salt, half);
    this.#replace(this.#s, salt, half);
  }

  #replace(table: Int32Array, salt: Buffer | undefined, half: number): number {
    for (let i = 0; i < table.length; i += 2) {
      if (salt !== undefined) {
        this.left ^= cyclicWord(salt, half);
        this.right ^= cyclicWord(salt, half + 1);
        half += 2;
      }
      this.encrypt();
      table[i] = this.left;
      table[i + 1] = this.right;
    }
    return half;
  }

  /** Enciphers `left` and `right` in place. */
  encrypt(): void {
    const p = this.#p;
    const s = this.#s;
    let l = this.left;
    let r = this.right;
    for (let i = 0; i < 16; i += 2) {
      l ^= p[i]!;
      r ^= (((s[l >>> 24]! + s[256 + ((l >>> 16) & 255)]!) ^ s[512 + ((l >>> 8) & 255)]!) + s[768 + (l & 255)]!) | 0;
      r ^= p[i + 1]!;
      l ^= (((s[r >>> 24]! + s[256 + ((r >>> 16) & 255)]!) ^ s[512 + ((r >>> 8) & 255)]!) + s[768 + (r & 255)]!) | 0;
    }
    this.left = r ^ p[17]!;
    this.right = l ^ p[16]!;
  }
}

/** The `i`th big-endian word of the bytes repeated for ever. */
function cyclicWord(bytes: Buffer, i: number): number {
  const n = bytes.length;
  const at = i * 4;
  return (bytes[at % n]! << 24) | (bytes[(at + 1) % n]! << 16) | (bytes[(at + 2) % n]! << 8) | bytes[(at + 3) % n]!;
}

let cachedPi: Int32Array | undefined;

/** The fraction of π, 32 bits at a time, by Machin's formula: π = 16 arctan(1/5) − 4 arctan(1/239). Tens of milliseconds, once. */
function piWords(): Int32Array {
  if (cachedPi) return cachedPi;
  const count = subkeys + boxWords;
  // Guard bits absorb the truncation of some 15 000 terms.
  const guard = 64n;
  const one = 1n << (BigInt(count) * 32n + guard);
  const pi = 16n * arctanInverse(5n, one) - 4n * arctanInverse(239n, one);
  let fraction = (pi - 3n * one) >> guard;
  const words = new Int32Array(count);
  const mask = 0xffffffffn;
  for (let i = count - 1; i >= 0; i--) {
    words[i] = Number(fraction & mask) | 0;
    fraction >>= 32n;
  }
  cachedPi = words;
  return words;
}

/** arctan(1/x) = 1/x − 1/3x³ + 1/5x⁵ − …, scaled by `one`. */
function arctanInverse(x: bigint, one: bigint): bigint {
  const square = x * x;
  let power = one / x;
  let sum = power;
  let sign = -1n;
  for (let n = 3n; power > 0n; n += 2n) {
    power /= square;
    sum += (sign * power) / n;
    sign = -sign;
  }
  return sum;
}
