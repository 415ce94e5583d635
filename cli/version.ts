import { type Command, exitCodes } from './command.ts';

export const command: Command = {
  usage: '',
  about: 'Prints the version of skoopline and of the Node.js that runs it.',
  options: {},
  positionals: 0,
  examples: [],
  async run(_args, io) {
    io.out(`skoopline ${io.version} (Node.js ${process.version}, ${process.platform}-${process.arch})\n`);
    return exitCodes.ok;
  },
};
