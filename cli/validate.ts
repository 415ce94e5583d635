import { readConfigFile } from '../pipeline/config/file.ts';
import { problemText, readConfig } from '../pipeline/config.ts';
import { type Command, configFile, configOption, exitCodes } from './command.ts';

export const command: Command = {
  usage: '[--config FILE] [--strict]',
  about: [
    'Checks a config file and prints every problem with its line and column. Starts nothing, opens nothing',
    'but the file. Exits with 0 when an agent would take it, else with 78.',
  ].join('\n'),
  options: {
    ...configOption,
    strict: { type: 'boolean', help: 'Warnings are errors.' },
  },
  positionals: 1,
  examples: ['skoopline validate pipeline.yaml'],
  async run(args, io) {
    const file = configFile(args);
    const text = await readConfigFile(file);
    const strict = args.values['strict'] === true;
    const result = await readConfig(text, { file, registry: io.registry, env: io.env, strict });
    for (const problem of result.problems) io.err(`${problemText(problem)}\n`);
    if (!result.ok) return exitCodes.config;
    const { pipelines, receivers, processors, exporters } = result.config;
    const count = receivers.size + processors.size + exporters.size;
    io.out(`${file}: good, ${plural(pipelines.length, 'pipeline')}, ${plural(count, 'component')}\n`);
    return exitCodes.ok;
  },
};

function plural(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
