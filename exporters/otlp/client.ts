import type { PartialSuccess } from './response.ts';

export type OtlpSignal = 'metrics' | 'logs';

/** One way of getting an encoded export request to a backend. */
export interface OtlpClient {
  /** Reads certificates and secrets. @throws AgentError when one is missing. */
  start(): Promise<void>;
  /**
   * Resolves when the backend answered that it took the request, perhaps in part.
   *
   * @throws RetryableError when the same request may succeed later, RefusedError when it will not.
   */
  send(signal: OtlpSignal, request: Uint8Array, abort: AbortSignal): Promise<PartialSuccess | undefined>;
  close(): void;
}
