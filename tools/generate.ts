/**
 * `make generate`: runs every generator. With `--check` they write nothing and the exit code is 1 when a file that is committed
 * differs from what would be written.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

process.chdir(`${import.meta.dirname}/..`);
const check = process.argv.includes('--check');
const generators = [
  'tools/gen-layout.ts',
  'tools/gen-docs.ts',
  'tools/gen-manifests.ts',
  'tools/gen-kubeskoop.ts',
  'tools/gen-dashboards.ts',
];
if (!existsSync('.output/bpf')) {
  // Only clang can say what is in an object; the committed layouts are enough for everything else.
  console.log('There are no BPF objects here (no clang): their layouts are not compared.');
  generators.shift();
}
let failed = false;
for (const generator of generators) {
  const { status } = spawnSync(process.execPath, [generator, ...(check ? ['--check'] : [])], { stdio: 'inherit' });
  failed ||= status !== 0;
}
process.exitCode = failed ? 1 : 0;
