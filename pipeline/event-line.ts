import type { LogRecord, Resource } from './batch.ts';
import type { Attributes, AttributeValue } from './catalogue.ts';

/**
 * One event as one line, in the shape that KubeSkoop's users know and grep:
 *
 * `type=TCPRESET_NOSOCK pod=web-1 namespace=shop protocol=TCP saddr=10.0.0.1 sport=443 daddr=10.0.0.2 dport=33488 reason=NO_SOCKET`
 *
 * First the type and the owner, then the flow, then everything else the event has, then its kernel stack. A value never holds a space, so
 * that `cut`, `awk` and `grep -o 'daddr=[^ ]*'` work; what would break that is escaped.
 */

/** Names of the flow's fields, in their order. The protocol comes from `network.transport`. */
const flowKeys: readonly (readonly [key: string, short: string])[] = [
  ['source.address', 'saddr'],
  ['source.port', 'sport'],
  ['destination.address', 'daddr'],
  ['destination.port', 'dport'],
];

/**
 * Short names of further attributes, where operators have one in mind already. An attribute that is not here keeps its whole name
 * (`network.peer.address=10.0.0.9`): lines must not need this table to be understood.
 */
const shortNames = new Map(
  Object.entries({
    'skoop.drop.reason': 'reason',
    'skoop.drop.location': 'location',
    'skoop.reset.reason': 'reason',
    'skoop.latency': 'latency',
    'skoop.tcp.state': 'state',
    'skoop.tcp.flags': 'flags',
    'skoop.packet.size': 'size',
    'network.interface.name': 'interface',
    'process.executable.name': 'process',
    'process.pid': 'pid',
    'k8s.container.name': 'container',
    'skoop.peer.kind': 'peer.kind',
    'skoop.peer.workload.kind': 'peer.workload.kind',
    'skoop.peer.workload.name': 'peer.workload',
    'skoop.peer.k8s.pod.name': 'peer.pod',
    'skoop.peer.k8s.service.name': 'peer.service',
    'skoop.peer.k8s.namespace.name': 'peer.namespace',
    'skoop.peer.k8s.node.name': 'peer.node',
    'skoop.peer.zone': 'peer.zone',
    'skoop.peer.gone': 'peer.gone',
  }),
);

const typeKey = 'kubeskoop.type';
const transportKey = 'network.transport';
const stackKey = 'skoop.stack';

const placed = new Set<string>([typeKey, transportKey, stackKey, ...flowKeys.map(([key]) => key)]);

/** Whose event it is, as the line's `pod` and `namespace`. */
export interface LineOwner {
  readonly pod: string;
  readonly namespace: string;
}

/**
 * A pod by its names. The node's own network namespace is `hostNetwork` for both, as in KubeSkoop. What is neither (a container without
 * Kubernetes, a namespace nobody named) goes by the best name it has, in namespace `-`.
 */
export function lineOwner(resource: Resource): LineOwner {
  const a = resource.attributes;
  const pod = a['k8s.pod.name'];
  if (pod !== undefined) return { pod: text(pod), namespace: text(a['k8s.namespace.name'] ?? '-') };
  const stranger = a['container.name'] ?? a['k8s.pod.uid'] ?? a['container.id'] ?? a['skoop.netns.name'];
  if (stranger !== undefined) return { pod: text(stranger), namespace: '-' };
  const inode = a['skoop.netns.inode'];
  if (inode !== undefined) return { pod: `netns-${text(inode)}`, namespace: '-' };
  return { pod: 'hostNetwork', namespace: 'hostNetwork' };
}

/** KubeSkoop's type where the event has one, else the event's own name. */
export function eventType(record: LogRecord): string {
  const type = record.attributes[typeKey];
  return type === undefined ? record.eventName : text(type);
}

/** Formats one event, without a line end. `withTime` puts `time=2026-01-02T03:04:05.123456789Z` first. */
export function eventLine(record: LogRecord, withTime = false): string {
  const { attributes } = record;
  const { pod, namespace } = lineOwner(record.resource);
  let line = withTime ? `time=${isoTime(record.timeUnixNs)} ` : '';
  line += `type=${escapeValue(eventType(record))} pod=${escapeValue(pod)} namespace=${escapeValue(namespace)}`;
  const transport = attributes[transportKey];
  if (transport !== undefined) line += ` protocol=${escapeValue(text(transport).toUpperCase())}`;
  for (const [key, short] of flowKeys) line += pair(short, attributes[key]);
  line += rest(attributes);
  const stack = attributes[stackKey];
  return stack === undefined ? line : `${line} stacktrace:${stackText(stack)}`;
}

function rest(attributes: Attributes): string {
  let out = '';
  const used = new Set<string>();
  for (const [key, value] of Object.entries(attributes)) {
    if (placed.has(key)) continue;
    const short = shortNames.get(key);
    // Two attributes of one short name: the second keeps its whole name.
    const name = short !== undefined && !used.has(short) ? short : key;
    used.add(name);
    out += pair(escapeKey(name), value);
  }
  return out;
}

function pair(name: string, value: AttributeValue | undefined): string {
  return value === undefined ? '' : ` ${name}=${escapeValue(text(value))}`;
}

/** The only field with spaces, which is why it comes last: frames are separated by one. */
function stackText(stack: AttributeValue): string {
  const frames = typeof stack === 'object' ? stack : text(stack).split(/[\s;]+/);
  return frames
    .filter((f) => f !== '')
    .map(escapeValue)
    .join(' ');
}

function text(value: AttributeValue): string {
  return typeof value === 'object' ? value.join(',') : String(value);
}

/** White space, control characters and the backslash as `\xHH` or `\uHHHH`: whatever the value, the line stays one line of fields. */
export function escapeValue(value: string): string {
  return /[\s\\\u0000-\u001f\u007f-\u009f]/.test(value)
    ? value.replace(/[\s\\\u0000-\u001f\u007f-\u009f]/g, escapeCharacter)
    : value;
}

function escapeCharacter(c: string): string {
  const code = c.charCodeAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u${code.padStart(4, '0')}`;
}

function escapeKey(key: string): string {
  return escapeValue(key).replaceAll('=', '\\x3d');
}

/** RFC 3339 with nanoseconds, UTC. */
export function isoTime(unixNs: bigint): string {
  const ms = Number(unixNs / 1_000_000n);
  const below = String(unixNs % 1_000_000_000n).padStart(9, '0');
  return `${new Date(ms).toISOString().slice(0, 19)}.${below}Z`;
}

/** One event as one line of JSON: the same names as in the line, and everything the record holds under its own. */
export function eventJson(record: LogRecord): string {
  const { pod, namespace } = lineOwner(record.resource);
  return JSON.stringify({
    time: isoTime(record.timeUnixNs),
    type: eventType(record),
    pod,
    namespace,
    event: record.eventName,
    severity: severityText[record.severityNumber],
    body: record.body,
    attributes: record.attributes,
    resource: record.resource.attributes,
  });
}

const severityText = { 5: 'DEBUG', 9: 'INFO', 13: 'WARN', 17: 'ERROR' } as const;
