import type { Batch, LogRecord, LogsBatch } from '../../pipeline/batch.ts';
import { type ComponentContext, type Exporter, type PushResult, RetryableError } from '../../pipeline/component.ts';
import { eventJson, eventLine } from '../../pipeline/event-line.ts';
import {
  createHttpPush,
  errorOf,
  type HttpAnswer,
  type HttpPush,
  RefusedError,
} from '../../pipeline/http-push/index.ts';
import { type LokiConfig, urlOf } from './config.ts';
import { type EncodedPush, encodePushes, JsonEncoder, type PushEncoder, PushProtobufEncoder } from './encode.ts';
import { type Entry, entriesOf, Streams } from './streams.ts';

const lines: Record<LokiConfig['line'], (record: LogRecord) => string> = {
  event: (record) => eventLine(record),
  body: (record) => record.body,
  json: (record) => eventJson(record),
};

/** Loki asks for another try with 429 (a rate limit) and with any 5xx. */
const isRetryable = (status: number) => status === 429 || status >= 500;

/** Pushes events to Loki. Requests of one batch go one after the other, so that streams stay in order. */
export class LokiExporter implements Exporter {
  readonly #config: LokiConfig;
  readonly #context: ComponentContext;
  readonly #http: HttpPush;
  readonly #url: URL;
  readonly #streams: Streams;
  #compress: ((body: Uint8Array) => Uint8Array) | undefined;

  constructor(config: LokiConfig, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
    const headers =
      config.tenant === undefined ? config.headers : { ...config.headers, 'X-Scope-OrgID': config.tenant };
    this.#http = createHttpPush({ ...config, headers }, context);
    this.#url = urlOf(config);
    this.#streams = new Streams(config);
  }

  async start(): Promise<void> {
    this.#http.start();
    if (this.#config.format === 'protobuf') this.#compress = (await import('snappyjs')).compress;
  }

  async push(batch: Batch, signal: AbortSignal): Promise<PushResult | undefined> {
    if (batch.kind !== 'logs') return undefined;
    const { format, structured_metadata, max_request_bytes, line } = this.#config;
    const entries = entriesOf(batch, this.#streams, lines[line]);
    const encoder: PushEncoder =
      format === 'json' ? new JsonEncoder(structured_metadata) : new PushProtobufEncoder(structured_metadata);
    let rejected = 0;
    let errorType = '400';
    let done = 0;
    for (const push of encodePushes(entries, max_request_bytes, encoder)) {
      try {
        rejected += await this.#send(push, signal);
      } catch (error) {
        if (error instanceof RetryableError) throw withRemainder(error, batch, entries, done, { rejected, errorType });
        if (!(error instanceof RefusedError) || push.items === entries.length) throw error;
        rejected += push.items;
        errorType = error.errorType;
      }
      done = push.done;
    }
    return rejected > 0 ? { rejected, errorType } : undefined;
  }

  async stop(): Promise<void> {
    this.#http.close();
  }

  /** Number of entries Loki left out. */
  async #send(push: EncodedPush, signal: AbortSignal): Promise<number> {
    const protobuf = this.#config.format === 'protobuf';
    const answer = await this.#http.post(
      {
        url: this.#url,
        body: protobuf ? this.#compress!(push.body) : push.body,
        contentType: protobuf ? 'application/x-protobuf' : 'application/json',
        precompressed: protobuf,
      },
      signal,
    );
    if (answer.status >= 200 && answer.status < 300) return 0;
    const ignored = answer.status === 400 ? ignoredEntries(answer) : undefined;
    const error = errorOf(answer, isRetryable, this.#context.clock.nowMs());
    if (ignored === undefined) throw error;
    this.#context.telemetry.failed('push', error);
    return Math.min(ignored, push.items);
  }
}

/**
 * A 400 for entries that are too old, too long or too many has the rest of the request ingested, and says for each stream
 * `total ignored: 3 out of 7`. Undefined when the body says no such thing: then nothing was taken.
 */
export function ignoredEntries(answer: Pick<HttpAnswer, 'body'>): number | undefined {
  const counts = [...answer.body.toString().matchAll(/total ignored: (\d+) out of (\d+)/g)];
  if (counts.length === 0) return undefined;
  return counts.reduce((n, [, ignored]) => n + Number(ignored), 0);
}

function withRemainder(
  error: RetryableError,
  batch: LogsBatch,
  entries: readonly Entry[],
  done: number,
  rejected: PushResult,
): RetryableError {
  if (done === 0) return error;
  // With the times they were given: in a batch of their own, one that was moved behind its equal would get the time of what Loki has already,
  // and be taken for that.
  const records = entries
    .slice(done)
    .map(({ record, timeUnixNs }) => (timeUnixNs === record.timeUnixNs ? record : { ...record, timeUnixNs }));
  return new RetryableError(error.message, {
    errorType: error.errorType,
    cause: error.cause,
    remaining: { ...batch, records },
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    ...(rejected.rejected > 0 ? { rejected } : {}),
  });
}
