import { parseArgs } from 'node:util';
import { didYouMean } from '../pipeline/config/suggest.ts';
import { AgentError, messageOf } from '../pipeline/errors.ts';
import { type Arguments, type Command, type CommandIo, exitCodes } from './command.ts';
import { commands } from './commands.ts';
import { commandHelp, overview } from './help.ts';

/** Runs the command that a command line names. @returns the exit code; never throws. */
export async function dispatch(argv: readonly string[], io: CommandIo): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    io.err(overview());
    return exitCodes.failed;
  }
  if (name === 'help' || name === '--help' || name === '-h') return help(rest[0], io);
  if (name === '--version' || name === '-V') return dispatch(['version'], io);
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!entry) {
    io.err(`skoopline: there is no command '${name}'${didYouMean(name, Object.keys(commands))}. See skoopline help.\n`);
    return exitCodes.failed;
  }
  try {
    const { command } = await entry.load();
    const args = parse(name, command, rest, io);
    return typeof args === 'number' ? args : await command.run(args, io);
  } catch (error) {
    // The causes below an AgentError are for the log: its own sentence says what to do.
    io.err(`skoopline ${name}: ${error instanceof AgentError ? error.message : messageOf(error)}\n`);
    if (error instanceof AgentError && error.hint) io.err(`${error.hint}\n`);
    return error instanceof AgentError && error.code === 'E_CONFIG' ? exitCodes.config : exitCodes.failed;
  }
}

async function help(name: string | undefined, io: CommandIo): Promise<number> {
  const entry = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (name !== undefined && !entry) {
    io.err(`skoopline: there is no command '${name}'${didYouMean(name, Object.keys(commands))}.\n`);
    return exitCodes.failed;
  }
  io.out(entry ? commandHelp(name!, (await entry.load()).command) : overview());
  return exitCodes.ok;
}

/** @returns the arguments, or the exit code where there is nothing more to do. */
function parse(name: string, command: Command, argv: readonly string[], io: CommandIo): Arguments | number {
  const options = { ...command.options, help: { type: 'boolean', short: 'h', help: '' } } as const;
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
    if (values['help']) {
      io.out(commandHelp(name, command));
      return exitCodes.ok;
    }
    if (positionals.length <= command.positionals) return { values, positionals };
    io.err(
      `skoopline ${name}: unexpected argument '${positionals[command.positionals]}'. See skoopline help ${name}.\n`,
    );
  } catch (error) {
    const option = /'(--?[^' ]+)/.exec(messageOf(error))?.[1] ?? '';
    const guess = option.startsWith('--') ? didYouMean(option.slice(2), Object.keys(options)) : '';
    const sentence = messageOf(error).split('. To specify')[0]!.replace(/\.$/, '');
    io.err(`skoopline ${name}: ${sentence}${guess}. See skoopline help ${name}.\n`);
  }
  return exitCodes.failed;
}
