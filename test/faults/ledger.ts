/** What a faulty backend got: which record how often, whether it was unaltered, and whether a second time was to be expected. */

import { ProtobufReader } from '../../pipeline/protobuf.ts';
import { numberedRecord } from '../../pipeline/queue/testing.ts';

interface Times {
  /** Which life of the sender sent it. */
  readonly life: number;
  /** When that life was told that this batch arrived; undefined when it was not, or was killed before. */
  okMs: number | undefined;
}

/** Half the sender's timeout. */
const surelyInTimeMs = 1500;

/** The queue writes at least every 10 ms, on a machine that is not standing still. */
const writtenDownMs = 1000;

export class Ledger {
  /** How often each number arrived. */
  readonly seen: Uint8Array;
  /** Numbers the backend said it rejected, by partial success. */
  readonly rejected: Uint8Array;
  readonly altered: number[] = [];
  /** Batches that came again although the sender had been told, with no kill soon after that. */
  readonly unexpected: number[] = [];
  duplicates = 0;
  /** When each life was killed. */
  readonly #kills = new Map<number, number>();
  readonly #batches = new Map<number, Times>();

  constructor(size: number) {
    this.seen = new Uint8Array(size);
    this.rejected = new Uint8Array(size);
  }

  /** Takes a request in; its last `reject` records are refused. Returns what to call when the sender has been told. */
  take(body: Uint8Array, reject: number, life: number): () => void {
    const numbers = numbersIn(body, this.altered);
    const kept = numbers.slice(0, numbers.length - reject);
    for (const n of numbers.slice(kept.length)) this.rejected[n] = 1;
    for (const n of kept) {
      if (this.seen[n]! > 0) this.duplicates++;
      if (this.seen[n]! < 255) this.seen[n]!++;
    }
    const first = numbers[0]!;
    const before = this.#batches.get(first);
    if (before && this.#shouldKnow(before)) this.unexpected.push(first);
    const times: Times = { life, okMs: undefined };
    this.#batches.set(first, times);
    const takenMs = Date.now();
    return () => {
      // On a machine that stands still for seconds the sender may have given up before it was told.
      if (Date.now() - takenMs < surelyInTimeMs && !this.#kills.has(life)) times.okMs = Date.now();
    };
  }

  killed(life: number): void {
    this.#kills.set(life, Date.now());
  }

  /** True when the sender was told and lived long enough to write that down. */
  #shouldKnow({ okMs, life }: Times): boolean {
    const killMs = this.#kills.get(life);
    return okMs !== undefined && (killMs === undefined || killMs > okMs + writtenDownMs);
  }

  count(): number {
    let n = 0;
    for (const times of this.seen) if (times > 0) n++;
    return n;
  }
}

/** The records' numbers; `altered` gets those that are not what was offered. */
function numbersIn(body: Uint8Array, altered: number[]): number[] {
  const out: number[] = [];
  const request = new ProtobufReader(body);
  while (request.next()) {
    const resource = request.message();
    while (resource.next()) {
      if (resource.field !== 2) {
        resource.skip();
        continue;
      }
      const scope = resource.message();
      while (scope.next()) {
        if (scope.field === 2) out.push(numberIn(scope.message(), altered));
        else scope.skip();
      }
    }
  }
  return out;
}

const base = numberedRecord(0).timeUnixNs;

function numberIn(r: ProtobufReader, altered: number[]): number {
  let n = Number.NaN;
  let body = '';
  let attribute = Number.NaN;
  let observed = 0n;
  while (r.next()) {
    if (r.field === 1) n = Number(r.fixed64() - base);
    else if (r.field === 11) observed = r.fixed64();
    else if (r.field === 5) body = textIn(r.message());
    else if (r.field === 6) attribute = attributeIn(r.message());
    else r.skip();
  }
  const expected = numberedRecord(n);
  if (body !== expected.body || attribute !== n || observed !== expected.observedTimeUnixNs) altered.push(n);
  return n;
}

function textIn(any: ProtobufReader): string {
  return any.next() && any.field === 1 ? any.string() : '';
}

function attributeIn(pair: ProtobufReader): number {
  let n = Number.NaN;
  while (pair.next()) {
    if (pair.field !== 2) {
      pair.skip();
      continue;
    }
    const any = pair.message();
    if (any.next() && any.field === 3) n = any.varint();
  }
  return n;
}
