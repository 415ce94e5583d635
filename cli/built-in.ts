import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DestinationStream } from 'pino';
import type { CommandIo } from './command.ts';
import { runPipeline } from './run.ts';

/** The service section of a pipeline that serves nothing, so that it runs beside an agent: no port that that one may have taken. */
export const besideAnAgent = {
  telemetry: { metrics: { level: 'none' }, logs: { level: 'warn' } },
  health: { address: 'localhost:0' },
} as const;

/** Runs a pipeline that a command brings along, until told to stop. @returns the exit code. */
export function runBuiltIn(name: string, pipeline: object, io: CommandIo, logTo?: DestinationStream): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), `skoopline-${name}-`));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, `${name}.json`);
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(pipeline));
  return runPipeline({ file, logLevel: 'warn', ...(logTo && { logTo }) }, io);
}
