import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from './command.ts';
import { command as runCommand } from './run.ts';

/** The pipeline behind `events`: probes, names of pods, functions of stacks, one line an event. Nothing is served. */
function pipeline(options: { types: readonly string[]; json: boolean; advice: boolean; stack: boolean }) {
  const stack = options.stack ? { enable_stack: true } : {};
  const probes = { packetloss: stack, tcpreset: stack, tcpretrans: stack };
  const filter = options.types.length > 0 ? { filter: { events: { include: options.types } } } : {};
  const processors = ['netns', 'pod', 'symbolize', ...Object.keys(filter)];
  return {
    receivers: { ebpf: { advice: options.advice, probes }, cri: { events: false } },
    processors: { netns: {}, pod: {}, symbolize: {}, ...filter },
    exporters: { debug: { format: options.json ? 'json' : 'line', timestamp: true } },
    service: {
      // Beside a running agent: no port that it may have taken.
      telemetry: { metrics: { level: 'none' }, logs: { level: 'warn' } },
      health: { address: 'localhost:0' },
      pipelines: { logs: { receivers: ['ebpf', 'cri'], processors, exporters: ['debug'] } },
    },
  };
}

export const command: Command = {
  usage: '[TYPE] [--stack] [--advice] [--json]',
  about: [
    'Prints what the probes see on this node, one line an event, until interrupted: drops, resets, retransmits and the rest, with the pod.',
    'Works beside a running agent and serves nothing. Needs the same rights.',
  ].join('\n'),
  options: {
    stack: { type: 'boolean', help: 'With the kernel stack of drops, resets and retransmits.' },
    advice: { type: 'boolean', help: 'With what usually causes it and what to look at next.' },
    json: { type: 'boolean', help: 'One JSON object a line.' },
  },
  positionals: 1,
  examples: [
    'skoopline events',
    "skoopline events 'TCPRESET_*'     by KubeSkoop type or event name, with * and ?",
    'skoopline events skoop.packet.dropped --stack',
  ],
  async run(args, io) {
    const folder = mkdtempSync(join(tmpdir(), 'skoopline-events-'));
    const file = join(folder, 'events.json');
    const config = pipeline({
      types: args.positionals,
      json: args.values['json'] === true,
      advice: args.values['advice'] === true,
      stack: args.values['stack'] === true,
    });
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(config));
    const remove = () => rmSync(folder, { recursive: true, force: true });
    process.once('exit', remove);
    return runCommand.run({ values: { config: file, 'log-level': 'warn' }, positionals: [] }, io);
  },
};
