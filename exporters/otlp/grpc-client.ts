import type { ChannelCredentials, Client, ClientUnaryCall, Metadata, ServiceError } from '@grpc/grpc-js';
import { type ComponentContext, RetryableError } from '../../pipeline/component.ts';
import {
  credentialPaths,
  RefusedError,
  requestHeaders,
  tlsMaterial,
  WatchedFiles,
} from '../../pipeline/http-push/index.ts';
import { ProtobufReader } from '../../pipeline/protobuf.ts';
import type { OtlpClient, OtlpSignal } from './client.ts';
import type { OtlpConfig } from './config.ts';
import { type PartialSuccess, partialFromProtobuf } from './response.ts';

type Grpc = typeof import('@grpc/grpc-js');

const methods: Record<OtlpSignal, string> = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
};

/** gRPC codes after which the same request may succeed (OTLP specification, "Failures"); 8 only with a RetryInfo. */
const retryableCodes = new Set([1, 4, 10, 11, 14, 15]);
const resourceExhausted = 8;
const deadlineExceeded = 4;
const codeNames = [
  ...['ok', 'cancelled', 'unknown', 'invalid_argument', 'deadline_exceeded', 'not_found', 'already_exists'],
  ...['permission_denied', 'resource_exhausted', 'failed_precondition', 'aborted', 'out_of_range', 'unimplemented'],
  ...['internal', 'unavailable', 'data_loss', 'unauthenticated'],
];
/** grpc.default_compression_algorithm: 2 is gzip. */
const gzip = 2;

/** OTLP/gRPC. grpc-js is loaded on start: it costs 37 ms and 20 MB that the other protocols need not pay. */
export function grpcClient(config: OtlpConfig, context: ComponentContext): OtlpClient {
  return new GrpcClient(config, context);
}

class GrpcClient implements OtlpClient {
  readonly #config: OtlpConfig;
  readonly #context: ComponentContext;
  #grpc: Grpc | undefined;
  #files: WatchedFiles | undefined;
  #channel: { client: Client; bornMs: number; filesVersion: number } | undefined;

  constructor(config: OtlpConfig, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const { clock, telemetry } = this.#context;
    this.#files = new WatchedFiles(credentialPaths(this.#config), {
      clock,
      intervalMs: this.#config.tls.reload_interval,
      onError: (error) => telemetry.failed('credentials', error),
    });
    this.#grpc = await import('@grpc/grpc-js');
  }

  async send(signal: OtlpSignal, request: Uint8Array, abort: AbortSignal): Promise<PartialSuccess | undefined> {
    if (!this.#grpc || !this.#files) await this.start();
    const files = this.#files!;
    files.refresh();
    const metadata = new this.#grpc!.Metadata();
    for (const [name, value] of Object.entries(requestHeaders(this.#config, files))) metadata.set(name, value);
    const body = Buffer.from(request.buffer, request.byteOffset, request.length);
    return partialFromProtobuf(await this.#call(methods[signal], body, metadata, abort));
  }

  close(): void {
    this.#channel?.client.close();
    this.#channel = undefined;
  }

  #call(method: string, body: Buffer, metadata: Metadata, abort: AbortSignal): Promise<Buffer> {
    const client = this.#client();
    return new Promise((resolve, reject) => {
      let call: ClientUnaryCall | undefined;
      let isAnswered = false;
      const cancel = () => call?.cancel();
      const options = { deadline: Date.now() + this.#config.timeout };
      const identity = (b: Buffer) => b;
      call = client.makeUnaryRequest(method, identity, identity, body, metadata, options, (error, answer) => {
        abort.removeEventListener('abort', cancel);
        if (error?.code === deadlineExceeded) this.#leave(client);
        if (error && !(isAnswered && isTooLong(error))) reject(grpcError(error));
        else resolve(answer ?? Buffer.alloc(0));
      });
      // Headers of their own come before a message; a refusal has its status in them, and is no event.
      call.once('metadata', () => {
        isAnswered = true;
      });
      abort.addEventListener('abort', cancel);
      if (abort.aborted) cancel();
    });
  }

  /**
   * Has the next call connect anew: when the backend's machine is gone, nothing ends the connection for a quarter of an hour, and every call on it
   * would run into its deadline.
   */
  #leave(client: Client): void {
    if (this.#channel?.client === client) this.close();
  }

  /** The channel, made anew when certificates changed or it is old: names are looked up again then. */
  #client(): Client {
    const now = this.#context.clock.monotonicMs();
    const { version } = this.#files!;
    const kept = this.#channel;
    if (kept && kept.filesVersion === version && now - kept.bornMs < this.#config.connection_max_age)
      return kept.client;
    // Calls under way finish on the old channel: close() only refuses new ones.
    kept?.client.close();
    const client = this.#makeClient(this.#grpc!);
    this.#channel = { client, bornMs: now, filesVersion: version };
    return client;
  }

  #makeClient(grpc: Grpc): Client {
    const { endpoint, tls, compression, proxy_url, max_response_bytes, retry_on_failure } = this.#config;
    const url = new URL(endpoint);
    const secure = url.protocol === 'https:';
    const address = `${url.hostname}:${url.port || (secure ? 443 : 80)}`;
    return new grpc.Client(address, secure ? this.#secure(grpc) : grpc.credentials.createInsecure(), {
      'grpc.primary_user_agent': `skoopline/${this.#context.version}`,
      'grpc.max_receive_message_length': max_response_bytes,
      ...(compression === 'gzip' ? { 'grpc.default_compression_algorithm': gzip } : {}),
      ...(tls.server_name_override ? { 'grpc.ssl_target_name_override': tls.server_name_override } : {}),
      // grpc-js reads the proxy from the environment by itself.
      ...(proxy_url === '' ? { 'grpc.enable_http_proxy': 0 } : {}),
      // grpc-js would try to connect after 1 s, and in the end every two minutes; the queue's rhythm is the one that was asked for.
      'grpc.initial_reconnect_backoff_ms': retry_on_failure.initial_interval,
      'grpc.max_reconnect_backoff_ms': retry_on_failure.max_interval,
      // Each client its own connection pool, so that a renewed client really connects anew.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  #secure(grpc: Grpc): ChannelCredentials {
    const { tls } = this.#config;
    const { ca, cert, key } = tlsMaterial(tls, this.#files!);
    return grpc.credentials.createSsl(ca ?? null, key ?? null, cert ?? null, {
      rejectUnauthorized: !tls.insecure_skip_verify,
    });
  }
}

/**
 * True when grpc-js gave up reading a message above `max_response_bytes` (stream-decoder.ts, compression-filter.ts). A backend sends one when it has
 * taken the request; what it says there is unread, as what HTTP cuts off is.
 */
function isTooLong({ code, details }: ServiceError): boolean {
  return code === resourceExhausted && /^Received message .*larger than/.test(details);
}

function grpcError(error: ServiceError): Error {
  const errorType = codeNames[error.code] ?? String(error.code);
  const retryAfterMs = retryDelayMs(error.metadata);
  const retryable = retryableCodes.has(error.code) || (error.code === resourceExhausted && retryAfterMs !== undefined);
  const message = `The backend answered ${errorType}: ${error.details}`;
  if (!retryable) return new RefusedError(message, errorType);
  return new RetryableError(message, { errorType, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}

/** google.rpc.RetryInfo.retry_delay of the status details, ms: Status.details (3) of Any {type_url 1, value 2}, Duration {seconds 1, nanos 2}. */
export function retryDelayMs(metadata: Metadata): number | undefined {
  const [details] = metadata.get('grpc-status-details-bin');
  if (!(details instanceof Buffer)) return undefined;
  try {
    const status = new ProtobufReader(details);
    while (status.next()) {
      if (status.field !== 3 || status.wireType !== 2) {
        status.skip();
        continue;
      }
      const value = anyOf(status.message(), 'google.rpc.RetryInfo');
      if (value) return durationMs(value);
    }
  } catch {
    // Details are advice; unreadable advice is none.
  }
  return undefined;
}

function anyOf(any: ProtobufReader, type: string): ProtobufReader | undefined {
  let url = '';
  let value: ProtobufReader | undefined;
  while (any.next()) {
    if (any.field === 1 && any.wireType === 2) url = any.string();
    else if (any.field === 2 && any.wireType === 2) value = any.message();
    else any.skip();
  }
  return url.endsWith(`/${type}`) ? value : undefined;
}

function durationMs(retryInfo: ProtobufReader): number | undefined {
  while (retryInfo.next()) {
    if (retryInfo.field !== 1 || retryInfo.wireType !== 2) {
      retryInfo.skip();
      continue;
    }
    const duration = retryInfo.message();
    let ms = 0;
    while (duration.next()) {
      if (duration.field === 1 && duration.wireType === 0) ms += duration.varint() * 1000;
      else if (duration.field === 2 && duration.wireType === 0) ms += duration.varint() / 1e6;
      else duration.skip();
    }
    return ms;
  }
  return undefined;
}
