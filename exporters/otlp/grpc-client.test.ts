import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServerUnaryCall,
  type StatusObject,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { RetryableError } from '../../pipeline/component.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { testContext } from '../../pipeline/testing.ts';
import { config } from './config.ts';
import { OtlpExporter } from './exporter.ts';
import { logs, never, numbers, partial, rejection } from './testdata/pushes.ts';

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const f of cleanups.reverse()) await f();
});

type GrpcAnswer = { error?: Partial<StatusObject>; body?: Uint8Array };

async function grpcSetup(input: Record<string, unknown> = {}, options: ServerOptions = {}) {
  const bodies: Buffer[] = [];
  const metadata: Record<string, unknown>[] = [];
  const state: { answer: GrpcAnswer | undefined } = { answer: undefined };
  const server = new Server(options);
  const identity = (b: Buffer) => b;
  const method = {
    path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
  server.addService({ Export: method }, {
    Export: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
      bodies.push(call.request);
      metadata.push(call.metadata.getMap());
      const { error, body } = state.answer ?? {};
      callback(error ?? null, Buffer.from(body ?? []));
    },
  } as never);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('localhost:0', ServerCredentials.createInsecure(), (e, p) => (e ? reject(e) : resolve(p)));
  });
  const exporter = new OtlpExporter(
    config.parse({ protocol: 'grpc', endpoint: `http://localhost:${port}`, timeout: '5s', ...input }),
    testContext(),
  );
  await exporter.start();
  cleanups.push(async () => {
    await exporter.stop();
    server.forceShutdown();
  });
  return { bodies, metadata, state, exporter, server, port };
}

test('gRPC: sends, with headers and gzip, and reads partial success', async () => {
  const { bodies, metadata, state, exporter } = await grpcSetup({
    headers: { 'X-Team': 'net' },
    auth: { bearer: { token: 't' } },
  });
  assert.equal(await exporter.push(logs(13), never), undefined);
  assert.deepEqual(numbers(bodies[0]!), [...Array(13).keys()]);
  assert.equal(metadata[0]!['x-team'], 'net');
  assert.equal(metadata[0]!['authorization'], 'Bearer t');
  state.answer = { body: partial(3, 'x') };
  assert.deepEqual(await exporter.push(logs(13), never), { rejected: 3, errorType: 'partial_success' });
});

test('gRPC: an answer that cannot be read is a success all the same: the status said so', async () => {
  const { state, exporter } = await grpcSetup();
  state.answer = { body: Uint8Array.of((1 << 3) | 2, 5, 8) };
  assert.equal(await exporter.push(logs(7), never), undefined);
});

test('gRPC: an answer above the limit is a success too, plain or unpacked; a refusal that says the same is not', async () => {
  const { state, exporter } = await grpcSetup({ max_response_bytes: '1KiB' });
  state.answer = { body: partial(3, 'x'.repeat(2000)) };
  assert.equal(await exporter.push(logs(7), never), undefined);
  const zipped = await grpcSetup({ max_response_bytes: '1KiB' }, { 'grpc.default_compression_algorithm': 2 });
  zipped.state.answer = { body: partial(3, 'x'.repeat(2000)) };
  assert.equal(await zipped.exporter.push(logs(7), never), undefined);
  const details = 'Received message larger than max (70000 vs 1024)';
  state.answer = { error: { code: status.RESOURCE_EXHAUSTED, details } };
  await assert.rejects(exporter.push(logs(7), never), { name: 'RefusedError' });
});

test('gRPC: codes are retryable as the specification says', async () => {
  const { state, exporter } = await grpcSetup();
  for (const [code, retryable, type] of [
    [status.UNAVAILABLE, true, 'unavailable'],
    [status.DATA_LOSS, true, 'data_loss'],
    [status.ABORTED, true, 'aborted'],
    [status.RESOURCE_EXHAUSTED, false, 'resource_exhausted'],
    [status.INVALID_ARGUMENT, false, 'invalid_argument'],
    [status.UNAUTHENTICATED, false, 'unauthenticated'],
  ] as const) {
    state.answer = { error: { code, details: 'x' } };
    const error = await rejection(exporter.push(logs(1), never));
    assert.equal(error instanceof RetryableError, retryable, type);
    assert.equal((error as RetryableError).errorType, type);
  }
});

test('gRPC: RetryInfo makes exhaustion retryable and says when', async () => {
  const { Metadata } = await import('@grpc/grpc-js');
  const w = new ProtobufWriter();
  w.byte((3 << 3) | 2);
  const any = w.begin(1);
  w.byte((1 << 3) | 2);
  w.string('type.googleapis.com/google.rpc.RetryInfo');
  w.byte((2 << 3) | 2);
  const info = w.begin(1);
  w.byte((1 << 3) | 2);
  const duration = w.begin(1);
  w.byte(1 << 3);
  w.varint(2);
  w.byte(2 << 3);
  w.varint(500_000_000);
  w.end(duration);
  w.end(info);
  w.end(any);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(w.bytes()));
  const { state, exporter } = await grpcSetup();
  state.answer = { error: { code: status.RESOURCE_EXHAUSTED, details: 'slow down', metadata } };
  const error = await rejection(exporter.push(logs(1), never));
  assert.ok(error instanceof RetryableError);
  assert.equal(error.retryAfterMs, 2500);
});

test('gRPC: a connection that has fallen silent is not used again', { timeout: 30_000 }, async () => {
  const { bodies, port } = await grpcSetup();
  const relayed: [Socket, Socket][] = [];
  const relay = createServer((socket) => {
    const onward = connect(port, 'localhost');
    socket.pipe(onward).pipe(socket);
    relayed.push([socket, onward]);
    for (const s of [socket, onward]) s.on('error', () => {});
  });
  await new Promise<void>((resolve) => relay.listen(0, 'localhost', resolve));
  const endpoint = `http://localhost:${(relay.address() as AddressInfo).port}`;
  const exporter = new OtlpExporter(config.parse({ protocol: 'grpc', endpoint, timeout: '500ms' }), testContext());
  cleanups.push(async () => {
    await exporter.stop();
    for (const socket of relayed.flat()) socket.destroy();
    relay.close();
  });
  await exporter.push(logs(7), never);
  // As when the backend's machine is gone: nothing comes back, and nothing says so.
  const [socket, onward] = relayed[0]!;
  socket.unpipe(onward).resume();
  const silent = await rejection(exporter.push(logs(11), never));
  assert.ok(silent instanceof RetryableError && silent.errorType === 'deadline_exceeded', String(silent));
  await exporter.push(logs(13), never);
  assert.deepEqual(
    bodies.map((b) => numbers(b).length),
    [7, 13],
  );
  assert.equal(relayed.length, 2);
});

test('gRPC: a server that is gone is retryable, and an abort ends the call', async () => {
  const { exporter, server } = await grpcSetup();
  await exporter.push(logs(1), never);
  const aborted = await rejection(exporter.push(logs(1), AbortSignal.abort()));
  assert.ok(aborted instanceof RetryableError && aborted.errorType === 'cancelled');
  server.forceShutdown();
  const gone = await rejection(exporter.push(logs(1), never));
  assert.ok(gone instanceof RetryableError, String(gone));
});
