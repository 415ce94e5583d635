import { execFileSync } from 'node:child_process';
import { createFileRegistry, type DescMessage, fromBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

const root = new URL('.', import.meta.url).pathname;
let registry: ReturnType<typeof createFileRegistry> | undefined;

function descriptor(name: string): DescMessage {
  const buf = new URL('../../../node_modules/.bin/buf', import.meta.url).pathname;
  registry ??= createFileRegistry(
    fromBinary(FileDescriptorSetSchema, execFileSync(buf, ['build', root, '-o', '-'], { cwd: root })),
  );
  return registry.getMessage(name)!;
}

/** Decodes with the published field numbers, to OTLP JSON. Unknown fields throw. */
// biome-ignore lint/suspicious/noExplicitAny: tests reach into it.
export function decodeOtlp(type: 'ExportLogsServiceRequest' | 'ExportMetricsServiceRequest', bytes: Uint8Array): any {
  const desc = descriptor(`otlp.${type}`);
  const message = fromBinary(desc, bytes);
  refuseUnknown(message);
  return toJson(desc, message);
}

function refuseUnknown(value: unknown): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
  const unknown = (value as { $unknown?: unknown[] }).$unknown;
  if (unknown && unknown.length > 0) throw new Error(`Unknown fields: ${JSON.stringify(unknown)}`);
  for (const inner of Object.values(value)) refuseUnknown(inner);
}
