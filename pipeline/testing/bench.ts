import assert from 'node:assert/strict';
import { pino } from 'pino';
import { type AgentConfig, problemText, readConfig } from '../config.ts';
import { Engine } from '../engine.ts';
import { createQueue } from '../queue/index.ts';
import { States } from '../states.ts';
import { AgentTelemetry } from '../telemetry.ts';
import { FakeClock } from '../testing.ts';
import { makeParts, type Parts } from './parts.ts';

/** An engine on a fake clock with components a test commands. */
export interface Bench extends Parts {
  readonly clock: FakeClock;
  readonly engine: Engine;
  readonly states: States;
  readonly telemetry: AgentTelemetry;
  /** Lines of the log. */
  readonly lines: Record<string, unknown>[];
  parse(text: string): Promise<AgentConfig>;
  apply(text: string): ReturnType<Engine['apply']>;
  /** Sum of a counter or gauge over the series with these labels. */
  value(name: string, labels?: Record<string, string>): number;
}

export function makeBench(): Bench {
  const parts = makeParts();
  const clock = new FakeClock();
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level: 'debug', base: null, timestamp: false },
    { write: (line: string) => lines.push(JSON.parse(line)) },
  );
  const telemetry = new AgentTelemetry({ clock, log, version: '0', node: { name: 'n' } });
  const states = new States();
  const engine = new Engine({ clock, log, telemetry, states, createQueue, version: '0' });
  const parse = async (text: string) => {
    const result = await readConfig(text, { file: 'f', registry: parts.registry, env: {} });
    assert.ok(result.ok, result.problems.map(problemText).join('\n'));
    return result.config;
  };
  return {
    ...parts,
    clock,
    engine,
    states,
    telemetry,
    lines,
    parse,
    apply: async (text) => engine.apply(await parse(text), { name: 'n' }),
    value: (name, labels = {}) =>
      (telemetry.read().find((r) => r.name === name)?.points ?? [])
        .filter((p) => Object.entries(labels).every(([k, v]) => p.attributes[k] === v))
        .reduce((n, p) => n + p.value, 0),
  };
}

/** Lets promises and timers of the machine settle. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
