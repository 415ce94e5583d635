import type { IncomingHttpHeaders } from 'node:http';
import { RetryableError } from '../component.ts';

/** What a backend said. `body` is cut at `max_response_bytes`. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A request the backend refused for good. */
export class RefusedError extends Error {
  /** The HTTP status. */
  readonly errorType: string;
  constructor(message: string, errorType: string) {
    super(message);
    this.name = 'RefusedError';
    this.errorType = errorType;
  }
}

/** RFC 9110, 10.2.3: seconds or an HTTP date. Undefined when absent or neither. */
export function parseRetryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Date.parse takes much that is no HTTP date, "-5" for one.
  const at = /^[A-Z][a-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

const longestExcerpt = 200;

/** The error an answer that is no success amounts to. `retryable`: statuses after which the same request may succeed. */
export function errorOf(answer: HttpAnswer, retryable: (status: number) => boolean, nowMs: number): Error {
  const excerpt = printable(answer.body).slice(0, longestExcerpt);
  const message = `The backend answered ${answer.status}${excerpt ? `: ${excerpt}` : ''}`;
  const errorType = String(answer.status);
  if (!retryable(answer.status)) return new RefusedError(message, errorType);
  const retryAfterMs = parseRetryAfterMs(answer.headers['retry-after'], nowMs);
  return new RetryableError(message, { errorType, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}

/** One line of what may be text of any origin, or protobuf. */
function printable(body: Buffer): string {
  return body
    .toString('latin1')
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim();
}
