import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import type { Lane } from './lanes.ts';
import { outputDirectory } from './run-lane.ts';

/**
 * Runs a lane's {@link Lane.prepare} commands one after the other, nicely, into `.output/test/<lane>.prepare.log`. Never rejects: what
 * could not be made is missed, and told of, by the tests that use it.
 */
export async function prepareLane(lane: Lane, signal: AbortSignal): Promise<void> {
  if (!lane.prepare || lane.missing()) return;
  mkdirSync(outputDirectory, { recursive: true });
  const log = openSync(`${outputDirectory}/${lane.name}.prepare.log`, 'w');
  try {
    for (const command of lane.prepare) {
      const child = spawn('nice', command, { stdio: ['ignore', log, log], signal });
      await new Promise<void>((resolve) => child.once('error', () => resolve()).once('close', () => resolve()));
    }
  } finally {
    closeSync(log);
  }
}
