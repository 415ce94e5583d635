import { readFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';

/**
 * A client for the container runtime interface (CRI v1) that speaks exactly what the installed containerd speaks: the schema
 * is taken out of its own binary. It is the test bed's and not the agent's on purpose: the agent's client is under test.
 */
export interface CriClient {
  /** Calls a method of `runtime.v1.RuntimeService`; messages in protobuf's JSON form (camelCase, enums by name). */
  call<T = JsonObject>(method: string, request?: JsonObject, timeoutMs?: number): Promise<T>;
  close(): void;
}

const gzipHeader = Buffer.from([0x1f, 0x8b, 0x08, 0x00]);

/** Go protobuf embeds each .proto as a gzipped FileDescriptorProto: finds the one of a package in a binary. */
function embeddedDescriptor(binary: Buffer, packageName: string): FileDescriptorProto {
  for (let at = binary.indexOf(gzipHeader); at !== -1; at = binary.indexOf(gzipHeader, at + 4)) {
    let raw: Buffer;
    try {
      // finishFlush 2 (Z_SYNC_FLUSH): what follows the stream in the binary is not ours.
      raw = inflateRawSync(binary.subarray(at + 10, at + 400_000), { finishFlush: 2 });
    } catch {
      continue;
    }
    // Field 1, length-delimited: the file's name, and its package in field 2 right after it.
    if (raw[0] !== 0x0a || !raw.subarray(0, 200).includes(packageName)) continue;
    try {
      const file = fromBinary(FileDescriptorProtoSchema, raw);
      if (file.package === packageName && file.service.length > 0) return file;
    } catch {
      // A gzip stream that is something else.
    }
  }
  throw new Error(`/usr/bin/containerd embeds no descriptor of ${packageName}.`);
}

let service: DescService | undefined;

function runtimeService(): DescService {
  if (service) return service;
  const file = embeddedDescriptor(readFileSync('/usr/bin/containerd'), 'runtime.v1');
  // Its only dependency declares options that mean something to Go's code generator alone.
  file.dependency = [];
  file.publicDependency = [];
  file.weakDependency = [];
  const registry = createFileRegistry(file, () => undefined);
  service = registry.getService('runtime.v1.RuntimeService');
  if (!service) throw new Error('The descriptor in /usr/bin/containerd has no RuntimeService.');
  return service;
}

/** Connects to a CRI socket. @param socket path of the unix socket. */
export function criClient(socket: string): CriClient {
  const methods = new Map<string, DescMethod>(runtimeService().methods.map((m) => [m.name, m]));
  const client = new grpc.Client(`unix://${socket}`, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 << 20,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 500,
  });
  return {
    call<T>(name: string, request: JsonObject = {}, timeoutMs = 60_000): Promise<T> {
      const method = methods.get(name);
      if (!method) return Promise.reject(new Error(`CRI has no method ${name}.`));
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      client.makeUnaryRequest(
        `/runtime.v1.RuntimeService/${name}`,
        (json: JsonObject) => Buffer.from(toBinary(method.input, fromJson(method.input, json))),
        (bytes: Buffer) => toJson(method.output, fromBinary(method.output, bytes), { alwaysEmitImplicit: true }),
        request,
        { deadline: Date.now() + timeoutMs },
        (error, response) => (error ? reject(new Error(`CRI ${name}: ${error.message}`)) : resolve(response as T)),
      );
      return promise;
    },
    close: () => client.close(),
  };
}
