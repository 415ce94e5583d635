import { writeSync } from 'node:fs';
import { duration } from '../pipeline/fields.ts';
import { besideAnAgent, runBuiltIn } from './built-in.ts';
import { type Arguments, type Command, exitCodes } from './command.ts';

/** The pipeline behind `top`: everything that observes, names of pods, one terminal. Nothing is served. */
function pipeline({ values }: Arguments, interval: string) {
  const every = { collection_interval: interval };
  const names = ['netns', 'pod', 'peer'];
  return {
    receivers: {
      procfs: every,
      netlink: every,
      // Like the agent's default, and what a person who looks wants to see: where the time goes, who talks to whom, what DNS says.
      ebpf: { ...every, probes: { socketlatency: { enabled: true }, flow: { enabled: true }, dns: { enabled: true } } },
      cri: {},
    },
    processors: { netns: {}, pod: {}, peer: {}, symbolize: {} },
    exporters: {
      terminal: {
        mode: values['plain'] === true || values['once'] === true || values['json'] === true ? 'plain' : 'auto',
        format: values['json'] === true ? 'json' : 'table',
        interval,
        count: values['once'] === true ? 1 : 0,
      },
    },
    service: {
      ...besideAnAgent,
      pipelines: {
        metrics: { receivers: ['procfs', 'netlink', 'ebpf', 'cri'], processors: names, exporters: ['terminal'] },
        logs: { receivers: ['netlink', 'ebpf', 'cri'], processors: [...names, 'symbolize'], exporters: ['terminal'] },
      },
    },
  };
}

/** Lines of the log kept while the screen is taken. */
const mostLines = 50;

/** The agent's log while a picture stands on the terminal: shown after it. */
function heldLog() {
  const lines: string[] = [];
  process.on('exit', () => {
    for (const line of lines) writeSync(2, line);
  });
  return {
    write(line: string) {
      lines.push(line);
      if (lines.length > mostLines) lines.shift();
    },
  };
}

export const command: Command = {
  usage: '[--interval TIME] [--once] [--plain] [--json]',
  about: [
    'Shows this node in a terminal until q is pressed: pods by trouble, why packets were dropped, resets, retransmits, latencies, live events.',
    'Enter opens the page of a pod, / filters events, ? tells of all keys. Piped, or with --plain, it prints a table an interval.',
    'Works beside a running agent and serves nothing. Needs the same rights.',
  ].join('\n'),
  options: {
    interval: { type: 'string', short: 'i', value: 'TIME', help: 'Time between two collections (default: 2s).' },
    once: { type: 'boolean', help: 'Print one table, when there are rates, and end.' },
    plain: { type: 'boolean', help: 'Print tables on a terminal too.' },
    json: { type: 'boolean', help: 'Print one JSON object an interval.' },
  },
  positionals: 0,
  examples: ['skoopline top', 'skoopline top --once', "skoopline top --json | jq '.pods[0] | .name, .worst'"],
  async run(args, io) {
    const given = args.values['interval'];
    const interval = typeof given === 'string' ? given : '2s';
    const parsed = duration('2s').safeParse(interval);
    if (!parsed.success || parsed.data < 1000) {
      io.err(`skoopline top: --interval takes a time of at least 1s, such as 5s, not '${interval}'.\n`);
      return exitCodes.failed;
    }
    const hasScreen = process.stdin.isTTY && process.stdout.isTTY;
    const isPlain = args.values['plain'] || args.values['once'] || args.values['json'];
    return runBuiltIn('top', pipeline(args, interval), io, hasScreen && !isPlain ? heldLog() : undefined);
  },
};
