/** Prints every breach of the walls in this working copy and exits 1 when there is one. The rules are in check/walls.ts. */
import { globSync, readFileSync } from 'node:fs';
import { breachesOf, missingFiles } from './check/walls.ts';

process.chdir(`${import.meta.dirname}/..`);
const exclude = ['**/node_modules/**', 'dist/**', '**/testdata/**', 'tools/templates/**', 'test/hosts/**'];
const sources = globSync('**/*.ts', { exclude }).filter((f) => !/\.gen\.ts$|_pb\.ts$/.test(f));
const breaches = [
  ...sources.flatMap((f) => breachesOf(f, readFileSync(f, 'utf8'))),
  ...missingFiles([...sources, ...globSync('{receivers,processors,exporters}/*/README.md')]),
];
for (const { file, line, message } of breaches) console.log(`${file}:${line}: ${message}.`);
process.exitCode = breaches.length ? 1 : 0;
