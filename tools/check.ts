/** `make check`: every check side by side; what passes says so in one line, what fails shows its output and what to run. */
import { spawn } from 'node:child_process';

interface Check {
  readonly name: string;
  readonly command: readonly string[];
  /** What to do about it. */
  readonly hint: string;
}

const node = process.execPath;
const checks: readonly Check[] = [
  { name: 'types', command: ['tsc', '-p', '.'], hint: 'tsc -p . shows the same' },
  {
    name: 'page types',
    command: ['tsc', '-p', 'exporters/page/app'],
    hint: 'tsc -p exporters/page/app shows the same',
  },
  { name: 'lint', command: ['biome', 'check', '--error-on-warnings', '.'], hint: 'make fix repairs most of it' },
  { name: 'walls', command: [node, 'tools/check-walls.ts'], hint: 'ARCHITECTURE.md says who may import whom' },
  {
    name: 'generated',
    command: [node, 'tools/generate.ts', '--check'],
    hint: 'make generate, and commit what changes',
  },
  { name: 'one copy', command: [node, 'tools/check-copies.ts'], hint: 'npm ls shows who asks for which version' },
  { name: 'links', command: [node, 'tools/check-links.ts'], hint: 'correct the link or the heading' },
];

process.chdir(`${import.meta.dirname}/..`);

async function run({ name, command, hint }: Check): Promise<boolean> {
  const began = performance.now();
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const ok = await new Promise<boolean>((resolve) => {
    child.once('error', (error) => {
      output += error.message;
      resolve(false);
    });
    child.once('close', (code) => resolve(code === 0));
  });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  if (ok) console.log(`ok      ${name} (${seconds} s)`);
  else console.log(`FAILED  ${name} (${seconds} s): ${hint}\n${output.trimEnd().replace(/^/gm, '    ')}`);
  return ok;
}

const results = await Promise.all(checks.map(run));
process.exitCode = results.every(Boolean) ? 0 : 1;
