import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { type Entry, metadataJson, metadataOf, type Stream } from './streams.ts';

/** One push request: `items` entries, the first `done` of the batch with those before. */
export interface EncodedPush {
  readonly body: Uint8Array;
  readonly items: number;
  readonly done: number;
}

/** Writes one push request at a time. */
export interface PushEncoder {
  /** Bytes so far, near enough to split by. */
  readonly size: number;
  open(stream: Stream): void;
  add(entry: Entry): void;
  close(): void;
  /** The request; the next begins. */
  finish(): Uint8Array;
}

/** Encodes requests of about `maxBytes` at most, one for each `next`. */
export function* encodePushes(
  entries: readonly Entry[],
  maxBytes: number,
  encoder: PushEncoder,
): Generator<EncodedPush, void> {
  let open: Stream | undefined;
  let from = 0;
  for (const [i, entry] of entries.entries()) {
    if (open !== entry.stream) {
      if (open) encoder.close();
      open = entry.stream;
      encoder.open(open);
    }
    encoder.add(entry);
    const next = entries[i + 1];
    if (next && encoder.size + entrySize(next) <= maxBytes) continue;
    encoder.close();
    open = undefined;
    yield { body: encoder.finish(), items: i + 1 - from, done: i + 1 };
    from = i + 1;
  }
}

/** What an entry may take, metadata guessed by its number of attributes. */
function entrySize({ line, record }: Entry): number {
  return (
    line.length + 64 + 48 * (Object.keys(record.attributes).length + Object.keys(record.resource.attributes).length)
  );
}

/** `{"streams":[{"stream":{…},"values":[["<ns>","<line>",{…}]]}]}` (Loki HTTP API, "Ingest logs"). */
export class JsonEncoder implements PushEncoder {
  readonly #metadata: boolean;
  readonly #w = new ProtobufWriter();
  #firstStream = true;
  #firstEntry = true;

  constructor(metadata: boolean) {
    this.#metadata = metadata;
  }

  get size(): number {
    return this.#w.position;
  }

  open(stream: Stream): void {
    this.#w.text(`${this.#firstStream ? '{"streams":[' : ','}{"stream":${stream.json},"values":[`);
    this.#firstStream = false;
    this.#firstEntry = true;
  }

  // Each entry's text goes into the buffer at once: one string of a request is a million pieces for the collector of garbage.
  add(entry: Entry): void {
    const metadata = this.#metadata ? `,${metadataJson(entry)}` : '';
    this.#w.text(`${this.#firstEntry ? '' : ','}["${entry.timeUnixNs}",${JSON.stringify(entry.line)}${metadata}]`);
    this.#firstEntry = false;
  }

  close(): void {
    this.#w.text(']}');
  }

  finish(): Uint8Array {
    this.#w.text(']}');
    const bytes = Uint8Array.from(this.#w.bytes());
    this.#w.reset();
    this.#firstStream = true;
    return bytes;
  }
}

const nsPerSecond = 1_000_000_000n;

/**
 * logproto.PushRequest {streams 1}, StreamAdapter {labels 1, entries 2}, EntryAdapter {timestamp 1, line 2, structuredMetadata 3},
 * LabelPairAdapter {name 1, value 2} (grafana/loki, pkg/push/push.proto). Not yet compressed.
 */
export class PushProtobufEncoder implements PushEncoder {
  readonly #metadata: boolean;
  readonly #w = new ProtobufWriter();
  #stream = 0;

  constructor(metadata: boolean) {
    this.#metadata = metadata;
  }

  get size(): number {
    return this.#w.position;
  }

  open(stream: Stream): void {
    const w = this.#w;
    w.byte((1 << 3) | 2);
    this.#stream = w.begin(3);
    w.byte((1 << 3) | 2);
    w.string(stream.selector);
  }

  add(entry: Entry): void {
    const w = this.#w;
    w.byte((2 << 3) | 2);
    const mark = w.begin(2);
    w.byte((1 << 3) | 2);
    const time = w.begin(1);
    w.byte(1 << 3);
    w.varint(Number(entry.timeUnixNs / nsPerSecond));
    w.byte(2 << 3);
    w.varint(Number(entry.timeUnixNs % nsPerSecond));
    w.end(time);
    w.byte((2 << 3) | 2);
    w.string(entry.line);
    if (this.#metadata) for (const [name, value] of metadataOf(entry)) writePair(w, name, value);
    w.end(mark);
  }

  close(): void {
    this.#w.end(this.#stream);
  }

  finish(): Uint8Array {
    const bytes = Uint8Array.from(this.#w.bytes());
    this.#w.reset();
    return bytes;
  }
}

function writePair(w: ProtobufWriter, name: string, value: string): void {
  w.byte((3 << 3) | 2);
  const mark = w.begin(1);
  w.byte((1 << 3) | 2);
  w.string(name);
  w.byte((2 << 3) | 2);
  w.string(value);
  w.end(mark);
}
