import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type {
  Batch,
  EntitiesBatch,
  Exemplar,
  LogRecord,
  LogsBatch,
  MetricsBatch,
  Owner,
  Resource,
  Schema,
  Scope,
  Snapshot,
} from '../batch.ts';
import type { Attributes, AttributeValue, MetricDefinition } from '../catalogue.ts';
import { ProtobufReader, ProtobufWriter } from '../protobuf.ts';

/**
 * How a batch lies on disk: self-contained, so that it can be read after an upgrade that knows other metrics.
 *
 *     "SKQ" version(1 byte) crc32 of the body(4 bytes, little endian) body
 *
 * The body is varints, length-prefixed UTF-8 strings and little-endian doubles, in the order of the writers below. Resources and
 * schemas are written once for each batch and referred to by index.
 *
 * Version 2 is version 1 with the exemplars behind each snapshot. A batch without any is written as version 1, which an older agent reads.
 */

const magic = [0x53, 0x4b, 0x51];
const versions = { plain: 1, exemplars: 2 } as const;
const headerLength = 8;
const kinds = ['metrics', 'logs', 'entities'] as const;

const writer = new ProtobufWriter(256 * 1024);

export function encodeBatch(batch: Batch): Uint8Array {
  const w = writer;
  w.reset();
  const hasExemplars = batch.kind === 'metrics' && batch.snapshots.some((s) => s.exemplars !== undefined);
  for (const b of magic) w.byte(b);
  w.byte(hasExemplars ? versions.exemplars : versions.plain);
  w.reserve(4);
  w.position += 4;
  w.byte(kinds.indexOf(batch.kind));
  if (batch.kind === 'logs') writeLogs(w, batch);
  else if (batch.kind === 'metrics') writeMetrics(w, batch, hasExemplars);
  else w.string(JSON.stringify(batch));
  const bytes = Uint8Array.from(w.bytes());
  new DataView(bytes.buffer).setUint32(4, crc32(bytes.subarray(headerLength)), true);
  return bytes;
}

/** @throws RangeError when the bytes are not a batch, not of this version, or damaged. */
export function decodeBatch(bytes: Uint8Array): Batch {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length <= headerLength || magic.some((b, i) => bytes[i] !== b)) throw new RangeError('Not a stored batch');
  const version = bytes[3];
  if (version !== versions.plain && version !== versions.exemplars) {
    throw new RangeError(`Stored batch of version ${version}, expected ${versions.plain} or ${versions.exemplars}`);
  }
  const body = bytes.subarray(headerLength);
  if (view.getUint32(4, true) !== crc32(body)) throw new RangeError('Stored batch is damaged: its checksum differs');
  const r = new ProtobufReader(body);
  const kind = kinds[r.varint()];
  if (kind === 'logs') return readLogs(r);
  if (kind === 'metrics') return readMetrics(r, version === versions.exemplars);
  if (kind === 'entities') return JSON.parse(r.string()) as EntitiesBatch;
  throw new RangeError('Stored batch of an unknown kind');
}

// --- logs ---

function writeLogs(w: ProtobufWriter, batch: LogsBatch): void {
  w.string(batch.source);
  writeScope(w, batch.scope);
  const resources = writeResources(w, batch.records);
  const words = new Map<string, number>();
  w.varint(batch.records.length);
  for (const r of batch.records) {
    w.fixed64(r.timeUnixNs);
    w.fixed64(r.observedTimeUnixNs);
    w.byte(r.severityNumber);
    writeWord(w, r.eventName, words);
    w.string(r.body);
    w.varint(resources.get(r.resource)!);
    writeOwner(w, r.owner);
    writeAttributes(w, r.attributes, words);
  }
}

function readLogs(r: ProtobufReader): LogsBatch {
  const source = r.string();
  const scope = readScope(r);
  const resources = readResources(r);
  const words: string[] = [];
  const records = list(r, (): LogRecord => {
    const timeUnixNs = r.fixed64();
    const observedTimeUnixNs = r.fixed64();
    const severityNumber = r.varint() as LogRecord['severityNumber'];
    const eventName = readWord(r, words);
    const body = r.string();
    const resource = resources[r.varint()]!;
    const owner = readOwner(r);
    const attributes = readAttributes(r, words);
    return { timeUnixNs, observedTimeUnixNs, severityNumber, eventName, body, attributes, owner, resource };
  });
  return { kind: 'logs', source, scope, records };
}

// --- metrics ---

function writeMetrics(w: ProtobufWriter, batch: MetricsBatch, hasExemplars: boolean): void {
  w.string(batch.source);
  writeScope(w, batch.scope);
  const resources = writeResources(w, batch.snapshots);
  const schemas = new Map<Schema, number>();
  for (const { schema } of batch.snapshots) if (!schemas.has(schema)) schemas.set(schema, schemas.size);
  w.varint(schemas.size);
  for (const schema of schemas.keys()) {
    const bytes = schemaBytes(schema);
    w.varint(bytes.length);
    w.raw(bytes);
  }
  const words = new Map<string, number>();
  w.varint(batch.snapshots.length);
  for (const s of batch.snapshots) {
    w.varint(schemas.get(s.schema)!);
    w.varint(resources.get(s.resource)!);
    writeOwner(w, s.owner);
    w.double(s.startTimeMs);
    w.double(s.timeMs);
    w.varint(s.values.byteLength);
    w.raw(new Uint8Array(s.values.buffer, s.values.byteOffset, s.values.byteLength));
    if (hasExemplars) writeExemplars(w, s.exemplars ?? [], words);
  }
}

function writeExemplars(w: ProtobufWriter, exemplars: readonly Exemplar[], words: Map<string, number>): void {
  w.varint(exemplars.length);
  for (const { offset, value, timeUnixNs, attributes } of exemplars) {
    w.varint(offset);
    w.double(value);
    w.fixed64(timeUnixNs);
    writeAttributes(w, attributes, words);
  }
}

function readExemplars(r: ProtobufReader, words: string[]): Exemplar[] {
  return list(r, () => {
    const offset = r.varint();
    const value = r.double();
    const timeUnixNs = r.fixed64();
    return { offset, value, timeUnixNs, attributes: readAttributes(r, words) };
  });
}

function readMetrics(r: ProtobufReader, hasExemplars: boolean): MetricsBatch {
  const source = r.string();
  const scope = readScope(r);
  const resources = readResources(r);
  const schemas = list(r, () => readSchema(r.bytes()));
  const words: string[] = [];
  const snapshots = list(r, (): Snapshot => {
    const schema = schemas[r.varint()]!;
    const resource = resources[r.varint()]!;
    const owner = readOwner(r);
    const startTimeMs = r.double();
    const timeMs = r.double();
    // A copy, since a Float64Array must begin at a multiple of eight.
    const values = new Float64Array(Uint8Array.from(r.bytes()).buffer);
    const snapshot = { owner, resource, startTimeMs, timeMs, schema, values };
    const exemplars = hasExemplars ? readExemplars(r, words) : [];
    return exemplars.length > 0 ? { ...snapshot, exemplars } : snapshot;
  });
  return { kind: 'metrics', source, scope, snapshots };
}

const encodedSchemas = new WeakMap<Schema, Uint8Array>();

/** Metric definitions as JSON, then the series by index of their metric. Made once for each schema. */
function schemaBytes(schema: Schema): Uint8Array {
  let bytes = encodedSchemas.get(schema);
  if (!bytes) {
    const w = new ProtobufWriter(16 * 1024);
    const metrics = [...new Set(schema.series.map((d) => d.metric))];
    const words = new Map<string, number>();
    w.string(JSON.stringify(metrics));
    w.varint(schema.slots);
    w.varint(schema.series.length);
    for (const d of schema.series) {
      w.varint(metrics.indexOf(d.metric));
      w.varint(d.offset);
      writeAttributes(w, d.attributes, words);
    }
    bytes = Uint8Array.from(w.bytes());
    encodedSchemas.set(schema, bytes);
  }
  return bytes;
}

/** Schemas read lately: consumers compare them by identity, so batches that share one on disk share it again. */
const decodedSchemas = new Map<string, Schema>();
const maxDecodedSchemas = 64;

function readSchema(bytes: Uint8Array): Schema {
  const key = hash('sha1', bytes, 'base64');
  const known = decodedSchemas.get(key);
  if (known) return known;
  const r = new ProtobufReader(bytes);
  const metrics = (JSON.parse(r.string()) as MetricDefinition[]).map((m) => Object.freeze(m));
  const slots = r.varint();
  const words: string[] = [];
  const series = list(r, () => {
    const metric = metrics[r.varint()]!;
    const offset = r.varint();
    return { metric, attributes: readAttributes(r, words), offset };
  });
  const schema = Object.freeze({ series: Object.freeze(series), slots });
  if (decodedSchemas.size >= maxDecodedSchemas) decodedSchemas.delete(decodedSchemas.keys().next().value!);
  decodedSchemas.set(key, schema);
  return schema;
}

// --- what both are made of ---

function list<T>(r: ProtobufReader, read: () => T): T[] {
  const n = r.varint();
  const out: T[] = [];
  for (let i = 0; i < n; i++) out.push(read());
  return out;
}

function writeScope(w: ProtobufWriter, scope: Scope): void {
  w.string(scope.name);
  w.byte(scope.version === undefined ? 0 : 1);
  if (scope.version !== undefined) w.string(scope.version);
}

function readScope(r: ProtobufReader): Scope {
  const name = r.string();
  return r.varint() === 0 ? { name } : { name, version: r.string() };
}

function writeResources(w: ProtobufWriter, of: readonly { readonly resource: Resource }[]): Map<Resource, number> {
  const index = new Map<Resource, number>();
  for (const { resource } of of) if (!index.has(resource)) index.set(resource, index.size);
  const words = new Map<string, number>();
  w.varint(index.size);
  for (const { attributes } of index.keys()) writeAttributes(w, attributes, words);
  return index;
}

function readResources(r: ProtobufReader): Resource[] {
  const words: string[] = [];
  return list(r, () => Object.freeze({ attributes: readAttributes(r, words) }));
}

/** A string that comes again and again: its number, or 0 and itself the first time. */
function writeWord(w: ProtobufWriter, word: string, words: Map<string, number>): void {
  const known = words.get(word);
  if (known !== undefined) {
    w.varint(known);
    return;
  }
  words.set(word, words.size + 1);
  w.byte(0);
  w.string(word);
}

function readWord(r: ProtobufReader, words: string[]): string {
  const n = r.varint();
  if (n > 0) return words[n - 1]!;
  const word = r.string();
  words.push(word);
  return word;
}

const owns = { netns: 1, podUid: 2, containerId: 4, cgroupId: 8, absent: 16, netnsCookie: 32 } as const;

function writeOwner(w: ProtobufWriter, owner: Owner | undefined): void {
  if (!owner) {
    w.byte(owns.absent);
    return;
  }
  const { netns, netnsCookie, podUid, containerId, cgroupId } = owner;
  let bits = 0;
  if (netns !== undefined) bits |= owns.netns;
  if (podUid !== undefined) bits |= owns.podUid;
  if (containerId !== undefined) bits |= owns.containerId;
  if (cgroupId !== undefined) bits |= owns.cgroupId;
  if (netnsCookie !== undefined) bits |= owns.netnsCookie;
  w.byte(bits);
  if (netns !== undefined) w.double(netns);
  if (podUid !== undefined) w.string(podUid);
  if (containerId !== undefined) w.string(containerId);
  if (cgroupId !== undefined) w.double(cgroupId);
  if (netnsCookie !== undefined) w.double(netnsCookie);
}

function readOwner(r: ProtobufReader): Owner | undefined {
  const bits = r.varint();
  if (bits & owns.absent) return undefined;
  return {
    ...(bits & owns.netns ? { netns: r.double() } : {}),
    ...(bits & owns.podUid ? { podUid: r.string() } : {}),
    ...(bits & owns.containerId ? { containerId: r.string() } : {}),
    ...(bits & owns.cgroupId ? { cgroupId: r.double() } : {}),
    ...(bits & owns.netnsCookie ? { netnsCookie: r.double() } : {}),
  };
}

const types = { string: 0, double: 1, natural: 2, true: 3, false: 4, list: 5 } as const;

function writeAttributes(w: ProtobufWriter, attributes: Attributes, words: Map<string, number>): void {
  const keys = Object.keys(attributes);
  w.varint(keys.length);
  for (const key of keys) {
    writeWord(w, key, words);
    writeValue(w, attributes[key]!);
  }
}

function writeValue(w: ProtobufWriter, value: AttributeValue): void {
  if (typeof value === 'string') {
    w.byte(types.string);
    w.string(value);
  } else if (typeof value === 'number') {
    const natural = value >= 0 && Number.isSafeInteger(value) && !Object.is(value, -0);
    w.byte(natural ? types.natural : types.double);
    if (natural) w.varint(value);
    else w.double(value);
  } else if (typeof value === 'boolean') {
    w.byte(value ? types.true : types.false);
  } else {
    w.byte(types.list);
    w.varint(value.length);
    for (const s of value) w.string(s);
  }
}

function readAttributes(r: ProtobufReader, words: string[]): Attributes {
  const n = r.varint();
  const out: Record<string, AttributeValue> = {};
  for (let i = 0; i < n; i++) {
    const key = readWord(r, words);
    out[key] = readValue(r);
  }
  return Object.freeze(out);
}

function readValue(r: ProtobufReader): AttributeValue {
  const type = r.varint();
  switch (type) {
    case types.string:
      return r.string();
    case types.double:
      return r.double();
    case types.natural:
      return r.varint();
    case types.true:
    case types.false:
      return type === types.true;
    case types.list:
      return list(r, () => r.string());
    default:
      throw new RangeError(`Unknown type of value ${type}`);
  }
}
