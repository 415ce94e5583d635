/**
 * A node:test reporter that writes one JSON line an outcome, for tools/test.ts to read: the spec reporter that writes the
 * lane's log beside it is for people.
 */

/** One outcome of one test. A file that fails as a whole (a crash, a hang) is one named after the file. */
export interface Outcome {
  /** Tells these lines from what a test prints itself. */
  readonly marker: 'skl-outcome';
  readonly status: 'passed' | 'failed' | 'skipped';
  readonly name: string;
  readonly file: string | undefined;
  /** Failure message with its stack, or the reason of a skip. */
  readonly detail: string | undefined;
}

interface Event {
  readonly type: string;
  readonly data: {
    readonly name?: string;
    readonly file?: string;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details?: { readonly type?: string; readonly error?: unknown };
  };
}

/** What a failed test said: node:test wraps the thrown value, and the cause is what the author of the test wants to see. */
function detailOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (cause === null || typeof cause !== 'object') return String(cause);
  // Thrown by `using` when cleaning up failed after the test had: the first of the two is the reason.
  const { suppressed, error: cleaningUp } = cause as { suppressed?: unknown; error?: unknown };
  if (suppressed !== undefined) return `${detailOf(suppressed)}\nand, cleaning up after it: ${detailOf(cleaningUp)}`;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function outcomeOf({ type, data }: Event): Outcome | undefined {
  if (type !== 'test:pass' && type !== 'test:fail') return undefined;
  const isSkipped = data.skip !== undefined && data.skip !== false;
  // A suite is what its tests are, but one that is skipped as a whole tells of none of them.
  if (data.details?.type === 'suite' && !isSkipped) return undefined;
  const base = { marker: 'skl-outcome' as const, name: data.name ?? '?', file: data.file };
  if (isSkipped) {
    return { ...base, status: 'skipped', detail: typeof data.skip === 'string' ? data.skip : undefined };
  }
  if (type === 'test:pass') return { ...base, status: 'passed', detail: undefined };
  // A parent that failed only because a subtest did says nothing new.
  const error = data.details?.error as { failureType?: string } | undefined;
  if (error?.failureType === 'subtestsFailed') return undefined;
  return { ...base, status: 'failed', detail: detailOf(data.details?.error) };
}

export default async function* reporter(source: AsyncIterable<Event>): AsyncGenerator<string> {
  for await (const event of source) {
    const outcome = outcomeOf(event);
    if (outcome) yield `${JSON.stringify(outcome)}\n`;
  }
}
