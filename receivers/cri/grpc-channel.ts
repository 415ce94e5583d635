import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Client, credentials, status } from '@grpc/grpc-js';
import { Observable } from 'rxjs';
import { messageOf } from '../../pipeline/errors.ts';

/** Kubelet's own limit; grpc-js would stop at 4 MiB, which 3000 sandboxes with long annotations reach. */
const maxReceiveBytes = 16 * 1024 * 1024;

/** A call that did not succeed, with gRPC's status name: `UNAVAILABLE`, `DEADLINE_EXCEEDED`, `NOT_FOUND`. */
export class GrpcError extends Error {
  readonly code: string;
  constructor(code: number, method: string, details: string) {
    super(`${method} answered ${status[code] ?? code}: ${details.slice(0, 300)}`);
    this.name = 'GrpcError';
    this.code = status[code] ?? String(code);
  }
}

interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What grpc-js hands to callbacks, less its metadata. */
interface ServiceFailure {
  readonly code?: number;
  readonly details?: string;
}

/**
 * gRPC over one unix socket with protobuf-es descriptors: the typed rim around grpc-js. Connects at the first call and again by
 * itself, at most two seconds after the server came back.
 */
export class GrpcChannel {
  readonly #client: Client;

  /** @param socketPath path of the unix socket. */
  constructor(socketPath: string) {
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': maxReceiveBytes,
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.min_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 2000,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** One question, one answer. Rejects with a {@link GrpcError}, also for an answer that is not the promised message. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    return new Promise((resolve, reject) => {
      const deadline = Date.now() + options.timeoutMs;
      const call = this.#client.makeUnaryRequest(
        pathOf(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        create(method.input, request),
        { deadline },
        (error, answer) => {
          options.signal?.removeEventListener('abort', cancel);
          if (error) reject(failureOf(method.name, error));
          else if (answer === undefined) reject(new GrpcError(status.INTERNAL, method.name, 'empty answer'));
          else resolve(answer);
        },
      );
      const cancel = () => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
      if (options.signal?.aborted) cancel();
    });
  }

  /** A stream of answers. Errors with a {@link GrpcError}; unsubscribing cancels the call. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
  ): Observable<MessageShape<O>> {
    return new Observable((subscriber) => {
      const call = this.#client.makeServerStreamRequest(
        pathOf(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        create(method.input, request),
      );
      call.on('data', (message: MessageShape<O>) => subscriber.next(message));
      call.on('error', (error: Error) => subscriber.error(failureOf(method.name, error)));
      call.on('end', () => subscriber.complete());
      return () => call.cancel();
    });
  }

  /** Ends all calls and the connection. Twice is safe. */
  close(): void {
    this.#client.close();
  }
}

function pathOf(method: { readonly name: string; readonly parent: { readonly typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function failureOf(method: string, error: Error & ServiceFailure): GrpcError {
  return new GrpcError(error.code ?? status.UNKNOWN, method, error.details ?? messageOf(error));
}
