/**
 * Runs the test lanes: `node tools/test.ts [LANE...] [--file PART] [--name REGEXP]`. Lanes that do not disturb one another run side by
 * side; each writes to .output/test/<lane>.log. Ends with a table and the plain line `N passed, M failed`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Lane, lanes } from './test/lanes.ts';
import { prepareLane } from './test/prepare.ts';
import { failuresText, table, totals } from './test/report.ts';
import { type LaneResult, outputDirectory, runLane } from './test/run-lane.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { file: { type: 'string', multiple: true, default: [] }, name: { type: 'string' } },
});
const unknown = positionals.filter((name) => !lanes.some((l) => l.name === name));
if (unknown.length) {
  console.error(`No lane named ${unknown.join(', ')}; there are ${lanes.map((l) => l.name).join(', ')}.`);
  process.exit(2);
}
const chosen = lanes.filter((l) => positionals.length === 0 || positionals.includes(l.name));

process.chdir(`${import.meta.dirname}/..`);
const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort());

const prepared = new Map(chosen.map((lane) => [lane, prepareLane(lane, interrupt.signal)]));

async function runTrack(track: readonly Lane[]): Promise<LaneResult[]> {
  const out: LaneResult[] = [];
  for (const lane of track) {
    await prepared.get(lane);
    const result = await runLane(lane, values.file, interrupt.signal, values.name);
    out.push(result);
    if (result.log) {
      const { passed, failed, skipped, seconds } = result;
      console.log(`${lane.name}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds.toFixed(1)} s`);
    } else console.log(`${lane.name}: not run: ${result.whyNot.join('; ')}`);
  }
  return out;
}

const results: LaneResult[] = [];
for (const phase of [...new Set(chosen.map((l) => l.phase))].sort()) {
  const inPhase = chosen.filter((l) => l.phase === phase);
  const tracks = [...new Set(inPhase.map((l) => l.track))];
  results.push(...(await Promise.all(tracks.map((t) => runTrack(inPhase.filter((l) => l.track === t))))).flat());
}
results.sort((a, b) => lanes.findIndex((l) => l.name === a.lane) - lanes.findIndex((l) => l.name === b.lane));

const { failed, line } = totals(results);
const failures = failuresText(results);
if (failures) console.log(`\n${failures}`);
console.log(`\n${table(results)}\n`);
mkdirSync(outputDirectory, { recursive: true });
writeFileSync(`${outputDirectory}/summary`, `${line}\n`);
writeFileSync(`${outputDirectory}/results.json`, `${JSON.stringify(results, null, 2)}\n`);
console.log(line);
process.exitCode = failed > 0 ? 1 : 0;
