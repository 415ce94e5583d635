import { writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { readConfigFile } from '../pipeline/config/file.ts';
import { problemText, readConfig } from '../pipeline/config.ts';
import { AgentError } from '../pipeline/errors.ts';
import { type Command, exitCodes } from './command.ts';
import { convert } from './migrate-convert.ts';
import { readKubeskoop } from './migrate-read.ts';

export const command: Command = {
  usage: 'FILE [--out FILE]',
  about: [
    'Turns the config of a KubeSkoop exporter (config.yaml, or the ConfigMap that holds it) into a pipeline that serves the',
    'same metrics under the same names and sends the same events to the same places. What has no equivalent is',
    'said on standard error and in comments of the result, each with the reason. docs/kubeskoop.md tells the differences.',
  ]
    .join(' ')
    .replace(/(.{1,98})(?: |$)/g, '$1\n')
    .trimEnd(),
  options: {
    out: { type: 'string', short: 'o', value: 'FILE', help: 'Write the pipeline there instead of to standard output.' },
  },
  positionals: 1,
  examples: ['skoopline migrate config.yaml > pipeline.yaml'],
  async run(args, io) {
    const [file] = args.positionals;
    if (file === undefined) {
      io.err('skoopline migrate: name the config of KubeSkoop. See skoopline help migrate.\n');
      return exitCodes.failed;
    }
    const notes: string[] = [];
    const note = (path: string, sentence: string) => notes.push(`${path}: ${sentence}`);
    const read = readKubeskoop(await readConfigFile(file), file, note);
    const pipeline = convert(read, note);
    for (const line of notes) io.err(`${file}: ${line}\n`);
    if (!pipeline) {
      throw new AgentError('E_CONFIG', `${file} switches on no probe that there is here: there is nothing to run.`);
    }
    const text = `${header(file, notes)}${stringify(pipeline, { lineWidth: 0 })}`;
    const out = args.values['out'];
    const target = typeof out === 'string' ? out : 'pipeline.yaml';
    const { ok, problems } = await readConfig(text, { file: target, registry: io.registry, env: io.env });
    for (const problem of problems) io.err(`${problemText(problem)}\n`);
    if (!ok) return exitCodes.config;
    if (typeof out === 'string') await writeFile(out, text);
    else io.out(text);
    return exitCodes.ok;
  },
};

function header(file: string, notes: readonly string[]): string {
  const name = file.split('/').at(-1)!;
  const lines = [
    `Made by \`skoopline migrate\` from KubeSkoop's ${name}.`,
    "Metrics keep KubeSkoop's names and labels (naming: kubeskoop); `kubeskoop_extras: true` adds those it has no name for.",
    ...(notes.length > 0 ? ['', 'Not as it was:', ...notes.map((n) => `* ${n}`)] : []),
  ];
  return `${lines.map((l) => `# ${l}`.trimEnd()).join('\n')}\n`;
}
