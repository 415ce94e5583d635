import { didYouMean } from '../pipeline/config/suggest.ts';
import { type KubeskoopConfig, type NamedEntry, type Note, shown } from './migrate-read.ts';

type Section = Record<string, unknown>;

const procfsProbes = ['netdev', 'tcp', 'udp', 'ip', 'tcpext', 'sock', 'softnet', 'tcpsummary', 'fd', 'io', 'ipvs'];
/** Scrapers of ours that KubeSkoop has not: off, since none of its dashboards asks for them. */
const procfsOthers = ['icmp', 'psi', 'sched'];
const netlinkProbes = ['conntrack', 'qdisc', 'rdma'];
const netlinkOthers = ['tcp_info', 'neighbour', 'link'];
/** Probes of receivers/ebpf that are KubeSkoop's too. */
const ebpfProbes = [
  'packetloss',
  'tcpreset',
  'tcpretrans',
  'kernellatency',
  'socketlatency',
  'netiftxlat',
  'softirq',
  'virtcmdlatency',
  'biolatency',
  'flow',
];
/** On by default here and unknown to KubeSkoop. */
const ebpfOthers = ['tcpconnect', 'udp', 'listen', 'tcprtt', 'dns'];
/** What KubeSkoop has metrics and what it has events of (its list of probes). */
const metricProbes = [
  ...procfsProbes,
  ...netlinkProbes,
  ...ebpfProbes.filter((p) => p !== 'tcpreset' && p !== 'biolatency'),
];
const eventProbes = [...ebpfProbes.filter((p) => p !== 'flow'), 'conntrack'];

/** Spellings of KubeSkoop's documentation. */
const aliases: Readonly<Record<string, string>> = { netiftxlatency: 'netiftxlat', net_softirq: 'softirq' };

/** Probes that cannot be carried over, and why. */
const without: Readonly<Record<string, string>> = {
  info: 'KubeSkoop has no such probe any more and does not start with it; kubeskoop_info_pod comes from receivers.cri without being asked.',
  sched:
    'KubeSkoop has only a stub of it. procfs.scrapers.sched has run delay and throttling of pods, under OpenTelemetry names.',
  tasklatency:
    'KubeSkoop has only a stub of it. The ebpf probe tasklatency has the run-queue delay, under OpenTelemetry names.',
};

/** KubeSkoop's argument (compared without case, as mapstructure does) → ours. */
const probeArguments: Readonly<
  Record<string, Readonly<Record<string, readonly [string, 'string' | 'boolean' | 'list']>>>
> = {
  flow: { interfacename: ['interface_name', 'string'], enableportinlabel: ['enable_port_in_label', 'boolean'] },
  packetloss: { enablestack: ['enable_stack', 'boolean'] },
  softirq: { 'softirq-types': ['types', 'list'] },
};
const softirqTypes = ['hi', 'timer', 'net_tx', 'net_rx', 'block', 'irq_poll', 'tasklet', 'sched', 'hrtimer', 'rcu'];

/** The pipeline that does what a KubeSkoop config asks for, and undefined when it asks for nothing. */
export function convert(config: KubeskoopConfig, note: Note): Section | undefined {
  const metrics = probesOf(config.metricProbes, 'metrics.probes', metricProbes, note);
  const events = probesOf(config.eventProbes, 'event.probes', eventProbes, note);
  if (metrics.size + events.size === 0) return undefined;
  const receivers = receiversOf(metrics, events);
  const sinks = events.size > 0 ? sinksOf(config.sinks, note) : {};
  if (events.size === 0 && config.sinks.length > 0) note('event.sinks', 'Left out: there is no event probe.');
  const exporters: Section = { ...(metrics.size > 0 ? { prometheus: prometheusOf(config, note) } : {}), ...sinks };
  const labelKeys = config.additionalLabels.flatMap((l) =>
    Array.from(l.matchAll(/\$\{labels:([^}]*)\}/g), (m) => m[1]!),
  );
  const metricReceivers = ['procfs', 'netlink', 'ebpf'].filter((id) => uses(id, metrics));
  const eventReceivers = ['netlink', 'ebpf'].filter((id) => uses(id, events));
  // The names that KubeSkoop's flow labels have for both ends.
  const named = metrics.has('flow') ? ['peer'] : [];
  const pipelines: Section = {};
  if (metrics.size > 0) {
    pipelines['metrics'] = {
      receivers: [...metricReceivers, 'cri'],
      processors: ['memory_limiter', 'netns', 'pod', ...named, 'limit_series'],
      exporters: ['prometheus'],
    };
  }
  if (events.size > 0) {
    pipelines['logs'] = {
      receivers: [...eventReceivers, 'cri'],
      processors: ['memory_limiter', 'netns', 'pod', 'symbolize'],
      exporters: Object.keys(sinks),
    };
  }
  return {
    receivers,
    processors: {
      memory_limiter: {},
      netns: {},
      pod: labelKeys.length > 0 ? { labels: [...new Set(labelKeys)] } : {},
      ...(named.length > 0 ? { peer: { local: true } } : {}),
      ...(events.size > 0 ? { symbolize: {} } : {}),
      ...(metrics.size > 0 ? { limit_series: {} } : {}),
    },
    exporters,
    service: {
      // KubeSkoop's own variable first named the node, so that its DaemonSet's environment goes on working.
      node_name: nodeName,
      ...(config.debugMode ? { telemetry: { logs: { level: 'debug' } } } : {}),
      pipelines,
    },
  };
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: a reference to the environment looks like that.
const nodeName = '${env:NODE_NAME:-}';

const probesOfReceiver: Readonly<Record<string, readonly string[]>> = {
  procfs: procfsProbes,
  netlink: netlinkProbes,
  ebpf: ebpfProbes,
};

const uses = (receiver: string, probes: ReadonlyMap<string, unknown>): boolean =>
  probesOfReceiver[receiver]!.some((p) => probes.has(p));

/** The probes of one list that exist here: name → arguments, in our words. */
function probesOf(
  list: readonly NamedEntry[],
  path: string,
  known: readonly string[],
  note: Note,
): Map<string, Section> {
  const out = new Map<string, Section>();
  list.forEach(({ name: written, args }, i) => {
    const at = `${path}[${i}] ${written}`;
    const name = aliases[written] ?? written;
    const why = without[name];
    if (why !== undefined) note(at, why);
    else if (!known.includes(name)) note(at, unknownProbe(name, path, known));
    else {
      if (name !== written) note(at, `KubeSkoop's own name of it is ${name}; it would not start with this one.`);
      out.set(name, argumentsOf(name, args, at, note));
    }
  });
  return out;
}

function unknownProbe(name: string, path: string, known: readonly string[]): string {
  const kind = path.startsWith('metrics') ? 'metrics' : 'events';
  const other = kind === 'metrics' ? eventProbes : metricProbes;
  if (other.includes(name)) return `KubeSkoop has no ${kind} of this probe and does not start with it; left out.`;
  return `KubeSkoop has no such probe${didYouMean(name, known)} and does not start with it; left out.`;
}

function argumentsOf(probe: string, args: Readonly<Record<string, unknown>>, path: string, note: Note): Section {
  const out: Section = {};
  for (const [key, value] of Object.entries(args)) {
    const found = probeArguments[probe]?.[key.toLowerCase()];
    if (!found) {
      note(`${path}.args.${key}`, 'KubeSkoop has no such argument and ignores it.');
      continue;
    }
    const [ours, type] = found;
    const good = argument(value, type);
    if (good === undefined) note(`${path}.args.${key}`, `Expected a ${type}, got ${shown(value)}; left out.`);
    else out[ours] = good;
  }
  const wrong = [out['types']].flat().filter((t) => t !== undefined && !softirqTypes.includes(String(t)));
  if (wrong.length > 0) {
    note(`${path}.args.softirq-types`, `There is no soft interrupt ${wrong.map(shown).join(', ')}; left out.`);
    out['types'] = [out['types']].flat().filter((t) => !wrong.includes(t));
    if ((out['types'] as unknown[]).length === 0) delete out['types'];
  }
  return out;
}

function argument(value: unknown, type: 'string' | 'boolean' | 'list'): unknown {
  if (type === 'list') return Array.isArray(value) ? value : undefined;
  return typeof value === type ? value : undefined;
}

function receiversOf(metrics: ReadonlyMap<string, Section>, events: ReadonlyMap<string, Section>): Section {
  const off = (names: readonly string[]) => Object.fromEntries(names.map((n) => [n, { enabled: false }]));
  const unused = (names: readonly string[]) => names.filter((n) => !metrics.has(n) && !events.has(n));
  const receivers: Section = {};
  if (uses('procfs', metrics)) receivers['procfs'] = { scrapers: off([...unused(procfsProbes), ...procfsOthers]) };
  if (uses('netlink', metrics) || uses('netlink', events)) {
    const scrapers = off([...unused(netlinkProbes), ...netlinkOthers]);
    if (events.has('conntrack')) {
      scrapers['conntrack'] = {
        events: { enabled: true, types: ['new', 'update', 'destroy'], namespaces: 'all' },
      } as never;
    }
    receivers['netlink'] = { scrapers };
  }
  if (uses('ebpf', metrics) || uses('ebpf', events)) {
    const probes: Section = off([...unused(ebpfProbes), ...ebpfOthers]);
    for (const name of ebpfProbes)
      if (metrics.has(name) || events.has(name)) probes[name] = ebpfProbe(name, metrics, events);
    receivers['ebpf'] = { probes };
  }
  // KubeSkoop tells nothing of pods that come and go.
  receivers['cri'] = { events: false };
  return receivers;
}

function ebpfProbe(name: string, metrics: ReadonlyMap<string, Section>, events: ReadonlyMap<string, Section>): Section {
  const section: Section = { enabled: true, ...metrics.get(name), ...events.get(name) };
  // KubeSkoop measures queue and driver; here the driver is asked for.
  if (name === 'netiftxlat') section['xmit'] = true;
  // KubeSkoop counts at the interfaces of the node; here that is a choice.
  return name === 'flow' ? { ...section, namespaces: 'node' } : { ...section, events: events.has(name) };
}

function prometheusOf(config: KubeskoopConfig, note: Note): Section {
  if (config.address === undefined) {
    note('address', 'KubeSkoop does not start without address or port; 9102 is the port of its Helm chart.');
  }
  // $$ is a literal $ in a pipeline: these references are of the exporter, not of the environment.
  const labels = config.additionalLabels.map((l) => l.replaceAll('$', '$$$$'));
  return {
    endpoint: config.address ?? '0.0.0.0:9102',
    naming: 'kubeskoop',
    ...(labels.length > 0 ? { additional_labels: labels } : {}),
  };
}

function sinksOf(sinks: readonly NamedEntry[], note: Note): Section {
  const out: Section = {};
  const add = (type: string, section: Section) => {
    const same = Object.keys(out).filter((id) => id.split('/')[0] === type).length;
    out[same === 0 ? type : `${type}/${same + 1}`] = section;
  };
  sinks.forEach(({ name, args }, i) => {
    const at = `event.sinks[${i}] ${name}`;
    if (name === 'stderr') add('debug', {});
    else if (name === 'file') fileSink(args, at, add, note);
    else if (name === 'loki') lokiSink(args, at, add, note);
    else note(at, `KubeSkoop has no such sink${didYouMean(name, ['stderr', 'file', 'loki'])}; left out.`);
  });
  if (Object.keys(out).length === 0) {
    note(
      'event.sinks',
      'No sink is left, and KubeSkoop sends its events nowhere then; here they go to standard output.',
    );
    add('debug', {});
  }
  return out;
}

type Add = (type: string, section: Section) => void;

function fileSink(args: Readonly<Record<string, unknown>>, at: string, add: Add, note: Note): void {
  const { path } = args;
  if (typeof path === 'string' && path !== '') add('file', { path: literal(path), format: 'json' });
  else note(`${at}.args.path`, 'KubeSkoop ends with a panic without it; the sink is left out.');
}

function lokiSink(args: Readonly<Record<string, unknown>>, at: string, add: Add, note: Note): void {
  const endpoint = typeof args['addr'] === 'string' ? lokiEndpoint(args['addr']) : undefined;
  if (endpoint === undefined) {
    note(`${at}.args.addr`, `Expected the name or address of Loki, got ${shown(args['addr'])}; the sink is left out.`);
    return;
  }
  // The stream labels that KubeSkoop's queries select by.
  add('loki', { endpoint, labels: { instance: 'k8s.node.name' }, static_labels: { job: 'kubeskoop' } });
}

/** KubeSkoop takes a bare name or IP and adds http and port 3100; its documentation shows a URL, which is what was meant there. */
function lokiEndpoint(addr: string): string | undefined {
  const bare = addr.includes('://') ? addr : `http://${/^[0-9a-fA-F]*:[0-9a-fA-F:]+$/.test(addr) ? `[${addr}]` : addr}`;
  if (!URL.canParse(bare)) return undefined;
  const url = new URL(bare);
  if (!/^https?:$/.test(url.protocol) || url.hostname === '') return undefined;
  if (url.port === '' && !addr.includes('://')) url.port = '3100';
  return literal(url.href.replace(/\/$/, ''));
}

/** A text as a pipeline holds it: a $ of its own is doubled. */
const literal = (text: string) => text.replaceAll('$', '$$$$');
