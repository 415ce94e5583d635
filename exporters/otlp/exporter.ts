import { setImmediate as turn } from 'node:timers/promises';
import type { Batch, LogsBatch, MetricsBatch } from '../../pipeline/batch.ts';
import { type ComponentContext, type Exporter, type PushResult, RetryableError } from '../../pipeline/component.ts';
import { RefusedError } from '../../pipeline/http-push/index.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import type { OtlpClient, OtlpSignal } from './client.ts';
import type { OtlpConfig } from './config.ts';
import { type EncodedRequest, encodeLogs, logsByResource } from './encode-logs.ts';
import { encodeMetrics } from './encode-metrics.ts';
import { grpcClient } from './grpc-client.ts';
import { httpClient } from './http-client.ts';
import { encodeJson } from './json.ts';
import { Losses } from './response.ts';
import { dividedSnapshots, remainder } from './split.ts';

/** Sends a batch as one or more export requests, one after the other. */
export class OtlpExporter implements Exporter {
  readonly #config: OtlpConfig;
  readonly #context: ComponentContext;
  readonly #client: OtlpClient;
  /** Encoders' buffers, one for each push under way, kept for the next. */
  readonly #writers: ProtobufWriter[] = [];

  constructor(config: OtlpConfig, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
    this.#client = config.protocol === 'grpc' ? grpcClient(config, context) : httpClient(config, context);
  }

  start(): Promise<void> {
    return this.#client.start();
  }

  async push(batch: Batch, signal: AbortSignal): Promise<PushResult | undefined> {
    if (batch.kind === 'entities') return undefined;
    const writer = this.#writers.pop() ?? new ProtobufWriter();
    try {
      const { max_request_bytes } = this.#config;
      const ready = batch.kind === 'logs' ? logsByResource(batch) : dividedSnapshots(batch, max_request_bytes, writer);
      return await this.#sendAll(ready, writer, signal);
    } finally {
      this.#writers.push(writer);
    }
  }

  async stop(): Promise<void> {
    this.#client.close();
  }

  async #sendAll(
    batch: LogsBatch | MetricsBatch,
    writer: ProtobufWriter,
    signal: AbortSignal,
  ): Promise<PushResult | undefined> {
    const losses = new Losses();
    let done = 0;
    let delivered = false;
    let refusal: RefusedError | undefined;
    for await (const request of this.#encode(batch, writer)) {
      if (!request) {
        await turn();
        continue;
      }
      if (request.unencodable) losses.add(request.unencodable, 'not_finite');
      try {
        if (request.items > 0) await this.#send(batch.kind, request, losses, signal);
        delivered = true;
      } catch (error) {
        if (error instanceof RetryableError) throw withRemainder(error, batch, done, losses);
        if (!(error instanceof RefusedError)) throw error;
        // The other requests of the batch may be taken.
        refusal = error;
        losses.add(request.items, error.errorType);
      }
      done = request.done;
    }
    if (refusal && !delivered) throw refusal;
    return losses.result();
  }

  async #send(kind: OtlpSignal, request: EncodedRequest, losses: Losses, signal: AbortSignal): Promise<void> {
    const partial = await this.#client.send(kind, request.bytes, signal);
    if (!partial) return;
    if (partial.rejected > 0) losses.add(Math.min(partial.rejected, request.items), 'partial_success');
    // With nothing rejected the message is a warning, which the specification asks to pass on.
    if (partial.message)
      this.#context.log.warn(
        { rejected: partial.rejected, message: partial.message },
        'The backend took a request in part or with a warning.',
      );
  }

  #encode(
    batch: LogsBatch | MetricsBatch,
    writer: ProtobufWriter,
  ): Iterable<EncodedRequest | undefined> | AsyncIterable<EncodedRequest> {
    const { protocol, max_request_bytes } = this.#config;
    if (protocol === 'http/json') return encodeJson(batch, max_request_bytes);
    return batch.kind === 'logs'
      ? encodeLogs(batch, max_request_bytes, writer)
      : encodeMetrics(batch, max_request_bytes, writer);
  }
}

/** The error for the queue to try again with what was not delivered. */
function withRemainder(
  error: RetryableError,
  batch: LogsBatch | MetricsBatch,
  done: number,
  losses: Losses,
): RetryableError {
  if (done === 0) return error;
  const remaining = remainder(batch, done);
  const rejected = losses.result();
  return new RetryableError(error.message, {
    errorType: error.errorType,
    cause: error.cause,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(remaining ? { remaining } : {}),
    ...(rejected ? { rejected } : {}),
  });
}
