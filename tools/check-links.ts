/** Prints every dead relative link in the Markdown of this working copy and exits 1 when there is one. */
import { globSync, readFileSync } from 'node:fs';
import { deadLinks } from './check/links.ts';

process.chdir(`${import.meta.dirname}/..`);
const files = globSync('**/*.md', {
  exclude: ['**/node_modules/**', 'dist/**', '**/testdata/**', 'tools/templates/**'],
});
const dead = files.flatMap((f) => deadLinks(f, readFileSync(f, 'utf8')));
for (const { file, line, target, why } of dead) console.log(`${file}:${line}: dead link ${target}: ${why}.`);
process.exitCode = dead.length ? 1 : 0;
