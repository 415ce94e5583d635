import { besideAnAgent, runBuiltIn } from './built-in.ts';
import type { Arguments, Command } from './command.ts';

/** The pipeline behind `events`: probes, names of pods, functions of stacks, one line an event. Nothing is served. */
function pipeline({ values, positionals }: Arguments) {
  const probes = { packetloss: {}, tcpreset: {}, tcpretrans: {} };
  if (values['stack'] === true) for (const probe of Object.values(probes)) Object.assign(probe, { enable_stack: true });
  const filter = filterOf(values, positionals);
  return {
    receivers: { ebpf: { advice: values['advice'] === true, probes }, cri: { events: false } },
    processors: { netns: {}, pod: {}, peer: {}, symbolize: {}, filter },
    exporters: { debug: { format: values['json'] === true ? 'json' : 'line', timestamp: true } },
    service: {
      ...besideAnAgent,
      pipelines: {
        logs: {
          receivers: ['ebpf', 'cri'],
          processors: ['netns', 'pod', 'peer', 'symbolize', 'filter'],
          exporters: ['debug'],
        },
      },
    },
  };
}

/** What the arguments ask for, in the words of `processors/filter`; what is not named is not filtered by. */
function filterOf(values: Arguments['values'], types: readonly string[]) {
  const rule = (include: unknown) => (Array.isArray(include) && include.length > 0 ? { include } : {});
  return { events: rule(types), pods: rule(values['pod']), namespaces: rule(values['namespace']) };
}

const patterns = { type: 'string', multiple: true, value: 'PATTERN' } as const;

export const command: Command = {
  usage: '[TYPE...] [-p POD] [-n NAMESPACE] [--stack] [--advice] [--json]',
  about: [
    'Prints what the probes see on this node, one line an event, until interrupted: drops, resets, retransmits and the rest, with the pod.',
    'Works beside a running agent and serves nothing. Needs the same rights.',
    'Types are KubeSkoop types or event names. Patterns: exact, with * and ?, or a /regular expression/.',
  ].join('\n'),
  options: {
    pod: { ...patterns, short: 'p', help: 'Of these pods only; may be given several times. The node is hostNetwork.' },
    namespace: { ...patterns, short: 'n', help: 'Of pods in these Kubernetes namespaces only.' },
    stack: { type: 'boolean', help: 'With the kernel stack of drops, resets and retransmits.' },
    advice: { type: 'boolean', help: 'With what usually causes it and what to look at next.' },
    json: { type: 'boolean', help: 'One JSON object a line.' },
  },
  positionals: 20,
  examples: [
    'skoopline events',
    "skoopline events 'TCPRESET_*' PACKETLOSS",
    "skoopline events --namespace shop --pod 'web-*'",
    'skoopline events skoop.packet.dropped --stack',
  ],
  run: (args, io) => runBuiltIn('events', pipeline(args), io),
};
