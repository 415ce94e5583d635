import { type DestinationStream, pino } from 'pino';
import { Agent, ConfigError } from '../pipeline/agent.ts';
import { problemText } from '../pipeline/config.ts';
import { messageOf } from '../pipeline/errors.ts';
import { type Command, type CommandIo, configFile, configOption, exitCodes } from './command.ts';

export const command: Command = {
  usage: '[--config FILE] [--log-level LEVEL]',
  about: [
    'Runs the pipeline of a config file in the foreground until SIGTERM or SIGINT, then sends what is queued',
    'and exits; a second signal exits at once. SIGHUP, or a change of the file, takes over the new config',
    'while what is the same in both keeps running; a config with errors is told and not taken.',
    "Events go to standard output (exporter debug), the agent's own log as JSON lines to standard error.",
  ].join('\n'),
  options: {
    ...configOption,
    'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn or error; rules over the config.' },
  },
  positionals: 1,
  examples: [
    'skoopline run --config pipeline.yaml',
    "curl -s localhost:8888/metrics     the agent's own metrics",
    'curl -s localhost:13133/readyz     the state of each component',
    'curl -s localhost:13133/pipeline   what runs, how it is joined, how much went where',
  ],
  async run(args, io) {
    const logLevel = args.values['log-level'];
    if (typeof logLevel === 'string' && !['debug', 'info', 'warn', 'error'].includes(logLevel)) {
      io.err(`skoopline run: --log-level takes debug, info, warn or error, not '${logLevel}'.\n`);
      return exitCodes.failed;
    }
    return runPipeline({ file: configFile(args), ...(typeof logLevel === 'string' ? { logLevel } : {}) }, io);
  },
};

/** Runs a config until told to stop. @returns the exit code. */
export async function runPipeline(
  options: { readonly file: string; readonly logLevel?: string; readonly logTo?: DestinationStream },
  io: CommandIo,
): Promise<number> {
  const { file, logLevel } = options;
  // Synchronous: the agent logs little, and what it says last is what matters most.
  const log = makeLog(logLevel ?? 'info', options.logTo ?? pino.destination({ dest: 2, sync: true }));
  let agent: Agent;
  try {
    const { registry, env, version } = io;
    agent = await Agent.load({ file, registry, env, log, version, ...(logLevel === undefined ? {} : { logLevel }) });
  } catch (error) {
    return refuseConfig(error, io);
  }
  return runUntilSignal(agent, log);
}

function makeLog(level: string, to: DestinationStream) {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    to,
  );
}

function refuseConfig(error: unknown, io: CommandIo): number {
  if (!(error instanceof ConfigError)) throw error;
  io.err(`${error.problems.map(problemText).join('\n')}\n${error.message}\n`);
  return exitCodes.config;
}

async function runUntilSignal(agent: Agent, log: ReturnType<typeof makeLog>): Promise<number> {
  const asked = Promise.withResolvers<string>();
  let signals = 0;
  const onSignal = (name: NodeJS.Signals) => {
    signals++;
    if (signals > 1) {
      log.warn({ signal: name }, 'Told twice: exiting without sending what is queued.');
      process.exit(exitCodes.failed);
    }
    asked.resolve(name);
  };
  const onHangup = () => void agent.reload();
  // `skoopline run | head`: when nobody reads any more, stop as if told to.
  const onPipe = (error: Error) => {
    if ('code' in error && error.code === 'EPIPE') asked.resolve('EPIPE');
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal).on('SIGHUP', onHangup);
  process.stdout.on('error', onPipe);
  process.on('uncaughtException', (error) => {
    log.fatal({ error: messageOf(error), stack: error.stack }, 'A defect of skoopline: please report it.');
    process.exit(exitCodes.failed);
  });

  const started = agent.start();
  const first = await Promise.race([started.then(() => undefined), asked.promise]);
  if (first !== undefined) {
    // Told to stop while starting: there is nothing to send yet.
    process.exit(exitCodes.ok);
  }
  const signal = await asked.promise;
  log.info({ signal }, 'Stopping.');
  await agent.stop();
  log.info('Stopped.');
  process.off('SIGTERM', onSignal).off('SIGINT', onSignal).off('SIGHUP', onHangup);
  // Whatever a component left behind must not keep a drained agent alive.
  setTimeout(() => process.exit(exitCodes.ok), 500).unref();
  return exitCodes.ok;
}
