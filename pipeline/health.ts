import type { Clock } from './clock.ts';
import type { Page } from './serve.ts';
import type { ServiceDescription } from './service-view.ts';
import type { ComponentReport } from './states.ts';

/** Where the agent as a whole stands. */
export type AgentPhase = 'starting' | 'running' | 'stopping';

/**
 * The pages of the health endpoint. `/healthz` answers 200 as long as the process can answer at all; `/readyz` answers 200 between the
 * end of the start and the beginning of the stop, and tells each component's state. `/pipeline` is the graph that runs with its counts.
 */
export function healthPages(options: {
  readonly clock: Clock;
  readonly version: string;
  readonly phase: () => AgentPhase;
  readonly reports: () => readonly ComponentReport[];
  readonly describe: () => ServiceDescription;
}): Readonly<Record<string, () => Page>> {
  const startedMs = options.clock.monotonicMs();
  const status = () => {
    const reports = options.reports();
    const isDegraded = reports.some((r) => r.state.state === 'failed' || r.failing.length > 0);
    const phase = options.phase();
    return {
      status: phase === 'running' && isDegraded ? 'degraded' : phase,
      version: options.version,
      uptimeSeconds: Math.round((options.clock.monotonicMs() - startedMs) / 1000),
      components: reports.map(reportJson),
    };
  };
  return {
    '/healthz': () => json(200, { status: 'ok', version: options.version }),
    '/readyz': () => json(options.phase() === 'running' ? 200 : 503, status()),
    '/pipeline': () => json(200, options.describe()),
  };
}

function reportJson({ kind, id, pipeline, state, absent, failing }: ComponentReport) {
  const retryAt =
    state.state === 'failed' && state.retryAtMs !== undefined ? new Date(state.retryAtMs).toISOString() : undefined;
  return {
    kind,
    id,
    ...(pipeline === undefined ? {} : { pipeline }),
    state: state.state,
    ...('reason' in state ? { reason: state.reason } : {}),
    ...(retryAt === undefined ? {} : { retryAt }),
    ...(Object.keys(absent).length > 0 ? { absent } : {}),
    ...(failing.length > 0 ? { failing } : {}),
  };
}

function json(status: number, body: unknown): Page {
  return { status, type: 'application/json', body: `${JSON.stringify(body, undefined, 2)}\n` };
}
