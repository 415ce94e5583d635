/**
 * Errors and outcomes. After start nothing throws out of a stage: failures inside a stage are values of {@link Outcome}, counted by
 * the component's telemetry. Only what makes a component pointless is thrown, at construction or subscription, as {@link AgentError}.
 */

/** An error with a stable code, the component it belongs to, and a hint at what to do. Sentences: capital, full stop. */
export class AgentError extends Error {
  readonly code: string;
  /** Component id (`ebpf`, `otlp/backup`) where one is involved. */
  readonly component: string | undefined;
  readonly hint: string | undefined;
  constructor(code: string, message: string, options: { component?: string; hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AgentError';
    this.code = code;
    this.component = options.component;
    this.hint = options.hint;
  }
}

/** This host does not have it: no IPv6, module not loaded, kernel too old. Logged once at debug; not an error. */
export class AbsentError extends AgentError {
  constructor(message: string, options: { component?: string; hint?: string; cause?: unknown } = {}) {
    super('E_ABSENT', message, options);
    this.name = 'AbsentError';
  }
}

/** One readable line for any thrown value, with its cause chain. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : ` (${messageOf(error.cause)})`;
  return `${error.message}${cause}`;
}

/** The errno name (`ENOENT`) of a Node system error, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}
