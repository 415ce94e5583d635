import { peerName, subjectFlows } from './flows.ts';
import { attributes, gauges } from './quantities.ts';
import { type Found, lookUp, type ViewState } from './state.ts';
import type { Subject } from './subject.ts';
import { breakdown, conntrackOf, podSummary, summarize } from './summary.ts';
import type { Listener, Peer, PodDetail, ViewEvent } from './types.ts';

/** Remote ends on a pod's page. */
const maxPeers = 10;

export function podDetail(subject: Subject, state: ViewState, events: readonly ViewEvent[]): PodDetail {
  return {
    ...podSummary(subject, state),
    drops: breakdown(subject, 'drops', state),
    resets: breakdown(subject, 'resets', state),
    retransmitKinds: breakdown(subject, 'retransmitKinds', state),
    connectFailures: breakdown(subject, 'connectFailures', state),
    tcpConnections: tcpConnections(subject, state),
    listeners: listeners(subject, state),
    conntrack: conntrackOf(subject, state),
    latencies: summarize([subject], state),
    peers: peers(subject, state),
    events,
  };
}

function tcpConnections(subject: Subject, state: ViewState): Record<string, number> {
  const out: Record<string, number> = {};
  for (const { value, attributes: a } of lookUp(subject, gauges.tcpConnections, state)) {
    const name = String(a[attributes.connectionState] ?? '');
    if (value > 0 && a[attributes.transport] === 'tcp') out[name] = (out[name] ?? 0) + value;
  }
  return out;
}

function listeners(subject: Subject, state: ViewState): Listener[] {
  const at = (f: Found) => [
    String(f.attributes[attributes.localAddress] ?? '*'),
    String(f.attributes[attributes.localPort] ?? '*'),
  ];
  const limits = new Map<string, number>();
  for (const found of lookUp(subject, gauges.acceptQueueLimit, state)) limits.set(at(found).join(' '), found.value);
  return [...lookUp(subject, gauges.acceptQueue, state)]
    .filter((found) => found.attributes[attributes.overflow] !== true)
    .map((found) => {
      const [address = '', port = ''] = at(found);
      return { address, port, queue: found.value, limit: limits.get(`${address} ${port}`) };
    })
    .sort((a, b) => b.queue - a.queue || Number(a.port) - Number(b.port));
}

/** Those that are slow or lossy first, then those with most traffic. */
function peers(subject: Subject, state: ViewState): Peer[] {
  const found = new Map<string, { -readonly [K in keyof Peer]: Peer[K] }>();
  const peer = (address: unknown, name: string | undefined) => {
    const key = String(address);
    const known = found.get(key) ?? {
      address: key,
      name,
      rttSeconds: undefined,
      retransmitRatio: undefined,
      bytesPerSecond: undefined,
    };
    known.name ??= name;
    found.set(key, known);
    return known;
  };
  const named = ({ attributes: a }: Found) => peer(a[attributes.peerAddress], peerName(a));
  for (const f of lookUp(subject, gauges.peerRtt, state)) named(f).rttSeconds = f.value;
  for (const f of lookUp(subject, gauges.peerRetransmitRatio, state)) named(f).retransmitRatio = f.value;
  for (const { address, name, sentBytesPerSecond, receivedBytesPerSecond } of subjectFlows(subject, state)) {
    const known = peer(address, name);
    known.bytesPerSecond = (known.bytesPerSecond ?? 0) + sentBytesPerSecond + receivedBytesPerSecond;
  }
  const worst = (p: Peer) => Math.max(p.retransmitRatio ?? 0, (p.rttSeconds ?? 0) / 10);
  // Somebody the pod once spoke to and does not now is no peer.
  return [...found.values()]
    .filter((p) => p.rttSeconds !== undefined || p.retransmitRatio !== undefined || (p.bytesPerSecond ?? 0) > 0)
    .sort((a, b) => worst(b) - worst(a) || (b.bytesPerSecond ?? 0) - (a.bytesPerSecond ?? 0))
    .slice(0, maxPeers);
}
