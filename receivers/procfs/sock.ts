import type { Attributes, MetricDefinition } from '../../pipeline/catalogue.ts';
import { eachLine, parseNumber, type Reject, SPACE } from './lines.ts';
import { sockMetrics as m } from './metrics-net.ts';
import { type Enabled, SeriesSet } from './series.ts';

/**
 * net/sockstat and net/sockstat6 (sockstat_seq_show() in net/ipv4/proc.c): `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 230`. inuse, tw, used and
 * FRAG are counted per namespace; orphan, alloc and mem are the whole machine's, in every namespace the same.
 */

const COLON = 0x3a;

/** Visits each number as `TCP.inuse`. A line with something else than words and numbers in turn is rejected from there on. */
export function parseSockstat(text: Buffer, reject: Reject, visit: (field: string, value: number) => void): void {
  eachLine(text, reject, (at, end) => {
    const colon = text.indexOf(COLON, at);
    if (colon <= at || colon >= end) return reject('bad_line');
    const row = text.toString('latin1', at, colon);
    let i = colon + 1;
    while (i < end) {
      const nameEnd = tokenEnd(text, i + 1, end);
      const valueEnd = tokenEnd(text, nameEnd + 1, end);
      const value = parseNumber(text, nameEnd + 1, valueEnd);
      if (value < 0) return reject('bad_number');
      visit(`${row}.${text.toString('latin1', i + 1, nameEnd)}`, value);
      i = valueEnd;
    }
  });
}

function tokenEnd(text: Buffer, from: number, end: number): number {
  let i = from;
  while (i < end && text[i] !== SPACE) i++;
  return i;
}

type Line = readonly [field: string, metric: MetricDefinition, attributes?: Attributes];

const inuse = (row: string, transport: string, type: string): Line => [
  `${row}.inuse`,
  m['skoop.sock.inuse'],
  { 'network.transport': transport, 'network.type': type },
];

const perNetns: readonly Line[] = [
  ['sockets.used', m['skoop.sock.used']],
  inuse('TCP', 'tcp', 'ipv4'),
  inuse('TCP6', 'tcp', 'ipv6'),
  inuse('UDP', 'udp', 'ipv4'),
  inuse('UDP6', 'udp', 'ipv6'),
  inuse('UDPLITE', 'udplite', 'ipv4'),
  inuse('UDPLITE6', 'udplite', 'ipv6'),
  inuse('RAW', 'raw', 'ipv4'),
  inuse('RAW6', 'raw', 'ipv6'),
  ['TCP.tw', m['skoop.sock.time_wait']],
  ['FRAG.inuse', m['skoop.sock.fragments'], { 'network.type': 'ipv4' }],
  ['FRAG6.inuse', m['skoop.sock.fragments'], { 'network.type': 'ipv6' }],
  ['FRAG.memory', m['skoop.sock.fragment_memory'], { 'network.type': 'ipv4' }],
  ['FRAG6.memory', m['skoop.sock.fragment_memory'], { 'network.type': 'ipv6' }],
];

const perNode: readonly Line[] = [
  ['TCP.orphan', m['skoop.sock.orphans']],
  ['TCP.alloc', m['skoop.sock.allocated']],
  ['TCP.mem', m['skoop.sock.memory'], { 'network.transport': 'tcp' }],
  ['UDP.mem', m['skoop.sock.memory'], { 'network.transport': 'udp' }],
];

/** Fields → slots of one kind of owner. */
class FieldSlots {
  readonly series = new SeriesSet();
  readonly slots = new Map<string, number>();
  constructor(lines: readonly Line[], enabled: Enabled) {
    for (const [field, metric, attributes] of lines) {
      const slot = this.series.addIf(enabled, metric, attributes);
      if (slot >= 0) this.slots.set(field, slot);
    }
  }
}

/** Series and parser of the sock scraper. */
export class SockFiles {
  readonly netns: FieldSlots;
  readonly node: FieldSlots;
  readonly #pageSize: number;
  readonly #reject: Reject;

  /** @param pageSize bytes of a page: the kernel counts socket memory in pages. */
  constructor(enabled: Enabled, pageSize: number, reject: Reject) {
    this.netns = new FieldSlots(perNetns, enabled);
    this.node = new FieldSlots(perNode, enabled);
    this.#pageSize = pageSize;
    this.#reject = reject;
  }

  /**
   * @param netns takes what belongs to the namespace.
   * @param node takes what is the machine's; given for the node's own namespace only.
   * @returns TCP sockets in use and in TIME_WAIT; NaN when the file does not say.
   */
  parse(text: Buffer, netns: Float64Array, node?: Float64Array): number {
    let inUse = Number.NaN;
    let timeWait = Number.NaN;
    parseSockstat(text, this.#reject, (field, value) => {
      const slot = this.netns.slots.get(field);
      if (slot !== undefined) netns[slot] = value;
      const nodeSlot = this.node.slots.get(field);
      if (node && nodeSlot !== undefined) node[nodeSlot] = field.endsWith('.mem') ? value * this.#pageSize : value;
      if (field === 'TCP.inuse') inUse = value;
      else if (field === 'TCP.tw') timeWait = value;
      else if (field === 'TCP6.inuse') {
        inUse = value;
        // TIME_WAIT sockets of both IP versions are in net/sockstat.
        timeWait = 0;
      }
    });
    return inUse + timeWait;
  }
}
