import type { Resource, Scope } from '../../pipeline/batch.ts';
import type { Attributes, AttributeValue } from '../../pipeline/catalogue.ts';
import { ProtobufWriter, varintLength } from '../../pipeline/protobuf.ts';

/**
 * opentelemetry/proto/common/v1/common.proto: AnyValue, KeyValue, InstrumentationScope; resource/v1: Resource. Field numbers are
 * part of the wire format and never change.
 */

/** Tag byte of a length-delimited field. */
const message = (field: number) => (field << 3) | 2;

/** Writes each attribute as a KeyValue in the given field (1 to 15) of the message being written. */
export function writeAttributes(w: ProtobufWriter, field: number, attributes: Attributes): void {
  const tag = message(field);
  for (const key in attributes) {
    const value = attributes[key]!;
    const head = keyBytes(key);
    if (typeof value === 'string' && writeShortText(w, tag, head, value)) continue;
    if (typeof value === 'number' && writeShortCount(w, tag, head, value)) continue;
    w.byte(tag);
    const mark = w.begin(1);
    w.raw(head);
    writeAnyValue(w, value);
    w.end(mark);
  }
}

/** Keys are few and come again with each record. */
const maxKeys = 4096;
const keys = new Map<string, Uint8Array>();

/** What a KeyValue with this key begins with: the key, and the tag of the value. */
function keyBytes(key: string): Uint8Array {
  let bytes = keys.get(key);
  if (!bytes) {
    // Not in `scratch`: the attribute may be a resource's, which is being written there.
    const w = new ProtobufWriter(key.length * 3 + 8);
    w.byte(message(1));
    w.string(key);
    w.byte(message(2));
    bytes = Uint8Array.from(w.bytes());
    if (keys.size >= maxKeys) keys.clear();
    keys.set(key, bytes);
  }
  return bytes;
}

/**
 * Writes a KeyValue whose every length is one byte, and so known beforehand: nearly all are such. False, with nothing written, when
 * this one is not, or its text is not ASCII.
 */
function writeShortText(w: ProtobufWriter, tag: number, head: Uint8Array, text: string): boolean {
  const n = text.length;
  const length = head.length + 3 + n;
  if (length > 127) return false;
  w.reserve(length + 2);
  const { buffer } = w;
  let at = w.position;
  buffer[at++] = tag;
  buffer[at++] = length;
  for (let i = 0; i < head.length; i++) buffer[at++] = head[i]!;
  buffer[at++] = n + 2;
  buffer[at++] = message(1);
  buffer[at++] = n;
  for (let i = 0; i < n; i++) {
    const c = text.charCodeAt(i);
    if (c > 127) return false;
    buffer[at++] = c;
  }
  w.position = at;
  return true;
}

/** As {@link writeShortText}, for a count below 2^28: four bytes at most. */
function writeShortCount(w: ProtobufWriter, tag: number, head: Uint8Array, value: number): boolean {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 28 || head.length > 100) return false;
  const n = varintLength(value);
  w.reserve(head.length + 8);
  const { buffer } = w;
  let at = w.position;
  buffer[at++] = tag;
  buffer[at++] = head.length + 2 + n;
  for (let i = 0; i < head.length; i++) buffer[at++] = head[i]!;
  buffer[at++] = n + 1;
  buffer[at++] = 3 << 3;
  w.position = at;
  w.varint(value);
  return true;
}

/** An AnyValue with its length, without its tag. Whole numbers are int_value, others double_value, as in the OpenTelemetry SDK. */
export function writeAnyValue(w: ProtobufWriter, value: AttributeValue): void {
  const mark = w.begin(1);
  if (typeof value === 'string') {
    w.byte(message(1));
    w.string(value);
  } else if (typeof value === 'boolean') {
    w.byte(2 << 3);
    w.byte(value ? 1 : 0);
  } else if (typeof value === 'number') {
    writeNumber(w, value);
  } else {
    w.byte(message(5));
    const array = w.begin(1);
    for (const text of value) {
      w.byte(message(1));
      writeAnyValue(w, text);
    }
    w.end(array);
  }
  w.end(mark);
}

function writeNumber(w: ProtobufWriter, value: number): void {
  if (Number.isSafeInteger(value)) {
    w.byte(3 << 3);
    w.int64(value);
  } else {
    w.byte((4 << 3) | 1);
    w.double(value);
  }
}

const scratch = new ProtobufWriter(4096);

/** Bytes of what `write` writes, on their own. */
export function encoded(write: (w: ProtobufWriter) => void): Uint8Array {
  scratch.reset();
  write(scratch);
  return Uint8Array.from(scratch.bytes());
}

const resources = new WeakMap<Resource, Uint8Array>();
const scopes = new WeakMap<Scope, Uint8Array>();

/** `resource` (field 1) of ResourceMetrics or ResourceLogs, tag included; made once for each resource. */
export function resourceBytes(resource: Resource): Uint8Array {
  let bytes = resources.get(resource);
  if (!bytes) {
    bytes = encoded((w) => {
      w.byte(message(1));
      const mark = w.begin(2);
      writeAttributes(w, 1, resource.attributes);
      w.end(mark);
    });
    resources.set(resource, bytes);
  }
  return bytes;
}

/** `scope` (field 1) of ScopeMetrics or ScopeLogs, tag included; made once for each scope. */
export function scopeBytes(scope: Scope): Uint8Array {
  let bytes = scopes.get(scope);
  if (!bytes) {
    bytes = encoded((w) => {
      w.byte(message(1));
      const mark = w.begin(1);
      w.byte(message(1));
      w.string(scope.name);
      if (scope.version !== undefined) {
        w.byte(message(2));
        w.string(scope.version);
      }
      w.end(mark);
    });
    scopes.set(scope, bytes);
  }
  return bytes;
}
