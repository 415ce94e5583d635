import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { clone, type DescFile, fromBinary } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import { file_events } from './events_pb.ts';
import { file_runtime } from './runtime_pb.ts';
import { file_task } from './task_pb.ts';

/** Go programs carry each .proto they know as a gzipped FileDescriptorProto: what the runtime really speaks. */
const binary = '/usr/bin/containerd';
const gzipHeader = Buffer.from([0x1f, 0x8b, 0x08, 0x00]);

function embedded(packages: readonly string[]): FileDescriptorProto[] {
  const bytes = readFileSync(binary);
  const found: FileDescriptorProto[] = [];
  for (let at = bytes.indexOf(gzipHeader); at !== -1; at = bytes.indexOf(gzipHeader, at + 4)) {
    try {
      const raw = inflateRawSync(bytes.subarray(at + 10, at + 400_000), { finishFlush: 2 });
      if (raw[0] !== 0x0a) continue;
      const file = fromBinary(FileDescriptorProtoSchema, raw);
      if (packages.includes(file.package)) found.push(file);
    } catch {
      // Some other gzip stream.
    }
  }
  return found;
}

type Messages = ReadonlyMap<string, DescriptorProto>;
const messagesOf = (files: readonly FileDescriptorProto[]): Messages =>
  new Map(files.flatMap((f) => f.messageType.map((m) => [`${f.package}.${m.name}`, m])));
const enumsOf = (files: readonly FileDescriptorProto[]): ReadonlyMap<string, EnumDescriptorProto> =>
  new Map(files.flatMap((f) => f.enumType.map((e) => [`${f.package}.${e.name}`, e])));

/** Fields that our file leaves out are no difference; every other one is. */
function compare(
  ours: FileDescriptorProto,
  theirs: readonly FileDescriptorProto[],
): { fields: number; differences: string[] } {
  const messages = messagesOf(theirs);
  const enums = enumsOf(theirs);
  const differences: string[] = [];
  let fields = 0;
  const look = (what: string, mine: unknown, theirsValue: unknown) => {
    if (JSON.stringify(mine) !== JSON.stringify(theirsValue))
      differences.push(`${what}: ${mine} here, ${theirsValue} there`);
  };
  const compareMessage = (mine: DescriptorProto, other: DescriptorProto | undefined, path: string) => {
    if (other === undefined) return void differences.push(`${path} is not there`);
    for (const field of mine.field) {
      fields++;
      const twin = other.field.find((f) => f.name === field.name);
      look(`${path}.${field.name} number`, field.number, twin?.number);
      look(
        `${path}.${field.name} type`,
        [field.type, field.label, field.typeName],
        [twin?.type, twin?.label, twin?.typeName],
      );
    }
    for (const nested of mine.nestedType) {
      compareMessage(
        nested,
        other.nestedType.find((n) => n.name === nested.name),
        `${path}.${nested.name}`,
      );
    }
  };
  for (const message of ours.messageType) {
    const name = `${ours.package}.${message.name}`;
    compareMessage(message, messages.get(name), name);
  }
  for (const e of ours.enumType) {
    const values = (d: EnumDescriptorProto | undefined) => d?.value.map((v) => `${v.name}=${v.number}`);
    look(e.name, values(e), values(enums.get(`${ours.package}.${e.name}`)));
  }
  for (const service of ours.service) {
    const twin = theirs.flatMap((f) => f.service).find((s) => s.name === service.name);
    for (const method of service.method) {
      const other = twin?.method.find((m) => m.name === method.name);
      look(
        `${service.name}.${method.name}`,
        [method.inputType, method.outputType],
        [other?.inputType, other?.outputType],
      );
      look(`${service.name}.${method.name} streams`, Boolean(method.serverStreaming), Boolean(other?.serverStreaming));
    }
  }
  return { fields, differences };
}

describe('the protocol written here is the one that containerd speaks', {
  skip: !existsSync(binary) && `no ${binary}`,
}, () => {
  const files = existsSync(binary)
    ? embedded(['runtime.v1', 'containerd.services.events.v1', 'containerd.events'])
    : [];
  const of = (file: DescFile) =>
    compare(
      file.proto,
      files.filter((f) => f.package === file.proto.package),
    );

  test('runtime.v1', () => {
    const { fields, differences } = of(file_runtime);
    assert.deepEqual(differences, []);
    assert.equal(fields, 68);
  });

  test('containerd.services.events.v1', () => {
    assert.deepEqual(of(file_events), { fields: 4, differences: [] });
    assert.deepEqual(of(file_task), { fields: 2, differences: [] });
  });

  test('a wrong number is found', () => {
    const wrong = clone(FileDescriptorProtoSchema, file_runtime.proto);
    const field = wrong.messageType.find((m) => m.name === 'PodSandbox')?.field.find((f) => f.name === 'labels');
    assert.ok(field);
    field.number = 9;
    assert.deepEqual(
      compare(
        wrong,
        files.filter((f) => f.package === 'runtime.v1'),
      ).differences,
      ['runtime.v1.PodSandbox.labels number: 9 here, 5 there'],
    );
  });
});
