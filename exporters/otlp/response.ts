import type { PushResult } from '../../pipeline/component.ts';
import type { HttpAnswer } from '../../pipeline/http-push/index.ts';
import { ProtobufReader } from '../../pipeline/protobuf.ts';

/** What Export{Logs,Metrics}ServiceResponse.partial_success says: `rejected_log_records` or `rejected_data_points` (1), `error_message` (2). */
export interface PartialSuccess {
  readonly rejected: number;
  readonly message: string;
}

/** Statuses after which the specification (OTLP/HTTP, "Retryable Response Codes") has the same request sent again. */
export function isRetryableStatus(status: number): boolean {
  return status === 429 || status === 502 || status === 503 || status === 504;
}

/** Partial success of a 2xx answer; undefined when all was taken. An unreadable body counts as success: the status said so. */
export function partialSuccess(answer: HttpAnswer): PartialSuccess | undefined {
  const json = (answer.headers['content-type'] ?? '').startsWith('application/json');
  if (!json) return partialFromProtobuf(answer.body);
  try {
    return partialFromJson(answer.body);
  } catch {
    return undefined;
  }
}

/** The same of the answer's body, for gRPC. */
export function partialFromProtobuf(body: Uint8Array): PartialSuccess | undefined {
  try {
    return decoded(new ProtobufReader(body));
  } catch {
    return undefined;
  }
}

function decoded(response: ProtobufReader): PartialSuccess | undefined {
  while (response.next()) {
    if (response.field === 1 && response.wireType === 2) return readPartial(response.message());
    response.skip();
  }
  return undefined;
}

function readPartial(partial: ProtobufReader): PartialSuccess {
  let rejected = 0;
  let message = '';
  while (partial.next()) {
    if (partial.field === 1 && partial.wireType === 0) rejected = partial.varint();
    else if (partial.field === 2 && partial.wireType === 2) message = partial.string();
    else partial.skip();
  }
  return { rejected, message };
}

function partialFromJson(body: Buffer): PartialSuccess | undefined {
  if (body.length === 0) return undefined;
  const { partialSuccess: partial } = JSON.parse(body.toString()) as { partialSuccess?: Record<string, unknown> };
  if (!partial) return undefined;
  const rejected = Number(partial['rejectedLogRecords'] ?? partial['rejectedDataPoints'] ?? 0);
  return { rejected: Number.isFinite(rejected) ? rejected : 0, message: String(partial['errorMessage'] ?? '') };
}

/** Sums up what the requests of one push lost. */
export class Losses {
  #rejected = 0;
  #errorType = 'partial_success';

  add(n: number, errorType: string): void {
    this.#rejected += n;
    this.#errorType = errorType;
  }

  result(): PushResult | undefined {
    return this.#rejected > 0 ? { rejected: this.#rejected, errorType: this.#errorType } : undefined;
  }
}
