import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the part of the heap that new objects are made in at its first size. V8 lets it grow to 3 × 16 MiB as soon as a burst of objects survives,
 * which start-up and every collection do, and never gives that back: 45 MiB of resident memory on a node with 50 pods. What it buys, fewer and
 * larger scavenges, an agent that works a moment every few seconds has no use for; events go through the pipeline as fast as before
 * (bench/ring-events.ts).
 *
 * Read by V8 each time it would grow (NewSpace::Grow()), so that it may be set at run time, however the program is started.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
