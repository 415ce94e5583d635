/** The steps of the Dockerfile, as far as they need no network: what they copy is there, and what they build is what the next ones take. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { buildAsImage, deployFolder } from './testing.ts';

const root = dirname(deployFolder);
const dockerfile = readFileSync(join(deployFolder, 'Dockerfile'), 'utf8').replace(/\\\n/g, ' ');
const instructions = dockerfile
  .split('\n')
  .filter((l) => /^[A-Z]+ /.test(l))
  .map((l) => ({ name: l.slice(0, l.indexOf(' ')), rest: l.slice(l.indexOf(' ') + 1).trim() }));
const of = (name: string) => instructions.filter((i) => i.name === name).map((i) => i.rest);

test('what the Dockerfile copies from the working copy is there and not ignored', () => {
  const ignored = new Set(readFileSync(join(root, '.dockerignore'), 'utf8').split('\n').filter(Boolean));
  const sources = of('COPY')
    .filter((c) => !c.startsWith('--from'))
    .flatMap((c) => c.split(/\s+/).slice(0, -1));
  assert.deepEqual(sources, ['bpf', 'package.json', 'package-lock.json', '.npmrc', '.', 'pipeline.yaml']);
  for (const source of sources) {
    assert.ok(existsSync(join(root, source)), `${source} does not exist`);
    assert.ok(!ignored.has(source), `${source} is in .dockerignore`);
  }
  for (const heavy of ['node_modules', '.output', 'dist', '.git', '.cache']) assert.ok(ignored.has(heavy), heavy);
});

test('each stage builds with the scripts that are there, and the image starts what was built', () => {
  const run = of('RUN').join('\n');
  assert.match(run, /^bpf\/build\.sh objects$/m);
  assert.match(run, /node tools\/build\.ts/);
  assert.match(run, /exec node \/opt\/skoopline\/dist\/cli\/main\.js "\$@"/);
  assert.deepEqual(of('ENTRYPOINT'), ['["skoopline"]']);
  assert.deepEqual(of('CMD'), ['["run", "--config", "/etc/skoopline/pipeline.yaml"]']);
});

test('the build step makes a program that runs, with the BPF objects where the loader looks', (t) => {
  const objects = globSync('.output/bpf/*.bpf.o', { cwd: root });
  if (objects.length === 0) return t.skip('there are no BPF objects here (no clang)');
  const work = mkdtempSync(join(tmpdir(), 'skl-build-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const said = buildAsImage(work);
  assert.match(said, new RegExp(`, ${objects.length} BPF objects, `));
  for (const object of objects)
    assert.ok(existsSync(join(work, 'dist/bpf/objects', object.split('/').at(-1)!)), object);
  for (const file of ['index.html', 'app.js', 'app.css', 'licenses.txt'])
    assert.ok(existsSync(join(work, 'dist/exporters/page/app', file)), file);
  const tests = globSync('dist/**/*.test.js', { cwd: work });
  assert.deepEqual(tests, []);
  const skoopline = (...args: string[]) =>
    execFileSync(process.execPath, ['dist/cli/main.js', ...args], { cwd: work, encoding: 'utf8' });
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.match(skoopline('version'), new RegExp(`\\b${version.replaceAll('.', '\\.')}\\b`));
  assert.match(skoopline('validate', 'pipeline.yaml'), /^pipeline\.yaml: good, 2 pipelines, /);
});
