/**
 * Writes what is derived from the components: the tables in their READMEs and the reference in docs/reference. With `--check` it
 * writes nothing and exits 1 when a file differs from what would be written.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ComponentRegistry } from '../pipeline/component.ts';
import { fill } from './docs/markers.ts';
import { componentsTable, filledReadme, loadAll, missingMarkers, referencePages } from './docs/reference.ts';

process.chdir(`${import.meta.dirname}/..`);
const check = process.argv.includes('--check');

const imported = (await import(pathToFileURL('components.ts').href)) as Record<string, ComponentRegistry>;
const registry = imported['default'] ?? imported['components'] ?? imported['registry'];
if (!registry) throw new Error('components.ts exports no registry of components.');
const all = await loadAll(registry);

const wanted = referencePages(all);
for (const { folder, declaration } of all) {
  const path = `${folder}/README.md`;
  if (!existsSync(path)) continue;
  const readme = readFileSync(path, 'utf8');
  const missing = missingMarkers(readme, declaration);
  if (missing.length) {
    console.log(`${path} has no place for ${missing.join(', ')}: add <!-- generated:… --> and <!-- /generated:… -->.`);
    process.exitCode = 1;
  }
  wanted.set(path, filledReadme(readme, declaration));
}
for (const [path, up] of [
  ['README.md', ''],
  ['ARCHITECTURE.md', ''],
  ['docs/README.md', '../'],
] as const) {
  if (existsSync(path)) wanted.set(path, fill(readFileSync(path, 'utf8'), 'components', componentsTable(all, up)));
}

for (const [path, content] of wanted) {
  const present = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (present === content) continue;
  if (check) {
    console.log(`${path} is not what its component says; run make generate.`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    console.log(`wrote ${path}`);
  }
}
