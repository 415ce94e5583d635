/**
 * `make build`: dist/, which is what the image and the npm package ship. JavaScript of everything but tests and tools, the BPF
 * objects, and the files that the program reads at run time. Wiped first: nothing in it outlives its source.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { bundle } from '../exporters/page/bundle.ts';

process.chdir(`${import.meta.dirname}/..`);
rmSync('dist', { recursive: true, force: true });
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
if (status !== 0) process.exit(1);

const objects = globSync('.output/bpf/*.bpf.o');
mkdirSync('dist/bpf/objects', { recursive: true });
for (const object of objects) cpSync(object, `dist/bpf/objects/${basename(object)}`);

// Read by the program beside its code: generated layouts, captured defaults.
const assets = globSync('{pipeline,host,bpf,receivers,processors,exporters,cli}/**/*.{json,proto,html,css,svg,woff2}', {
  exclude: ['**/testdata/**', '**/node_modules/**', 'exporters/page/app/**'],
});
for (const asset of assets) {
  mkdirSync(`dist/${dirname(asset)}`, { recursive: true });
  cpSync(asset, `dist/${asset}`);
}
// What browsers get, with the libraries in it: they are not installed where the agent runs.
const page = 'exporters/page/app';
mkdirSync(`dist/${page}`, { recursive: true });
const files = await bundle(`${process.cwd()}/${page}`);
for (const [name, body] of files) writeFileSync(`dist/${page}/${name}`, body);

const modules = globSync('dist/**/*.js').length;
console.log(`dist: ${modules} modules, ${objects.length} BPF objects, ${assets.length + files.size} other files`);
if (objects.length === 0)
  console.log('dist has no BPF objects: there was no clang to make them, so its ebpf receiver is off.');
if (!existsSync('dist/cli/main.js')) process.exitCode = 1;
