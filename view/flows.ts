import { increase } from './collection.ts';
import { planOf } from './plan.ts';
import { attributes, flowBytes } from './quantities.ts';
import { type Found, lookUp, type ViewState } from './state.ts';
import type { Subject } from './subject.ts';
import type { Flow, Flows } from './types.ts';

/** Traffic of one subject with one other end, bytes per second between the last two collections of the flow probe. */
export interface SubjectFlow {
  /** Address of the other end; where flows are summed by workload, the workload's name. */
  readonly address: string;
  /** What the cluster calls it, where the processor `peer` said so. */
  name: string | undefined;
  readonly transport: string;
  sentBytesPerSecond: number;
  receivedBytesPerSecond: number;
}

/** By other end and protocol; ports are summed. */
export function subjectFlows(subject: Subject, state: ViewState): SubjectFlow[] {
  const out = new Map<string, SubjectFlow>();
  const before = new Map<string, number>();
  for (const source of state.sources.values()) {
    for (const snapshot of source.previousSubjects.get(subject) ?? []) {
      for (const { offset, attributes: a } of planOf(snapshot.schema).lookups.get(flowBytes) ?? [])
        before.set(seriesOf(a), snapshot.values[offset]!);
    }
  }
  for (const { value, attributes: a, source, snapshot } of lookUp(subject, flowBytes, state)) {
    const seconds = (snapshot.timeMs - source.previousMs) / 1000;
    const isSent = a[attributes.direction] === 'transmit';
    const name = peerName(a);
    const address = String(a[isSent ? attributes.destinationAddress : attributes.sourceAddress] ?? name ?? '');
    // What has neither is not IP.
    if (a[attributes.overflow] === true || address === '' || !(seconds > 0)) continue;
    const transport = String(a[attributes.transport] ?? '');
    const key = `${transport} ${address}`;
    const flow = out.get(key) ?? { address, name, transport, sentBytesPerSecond: 0, receivedBytesPerSecond: 0 };
    flow.name ??= name;
    out.set(key, flow);
    const rate = increase(value, before.get(seriesOf(a))) / seconds;
    if (isSent) flow.sentBytesPerSecond += rate;
    else flow.receivedBytesPerSecond += rate;
  }
  return [...out.values()];
}

/** What the cluster calls the far end of a series. */
export function peerName(a: Found['attributes']): string | undefined {
  const name = attributes.peerNames.map((key) => a[key]).find((v) => v !== undefined);
  return name === undefined ? undefined : String(name);
}

/** Tells a subject's flows apart. The name of an address may come and go; where there is no address, names are all there is. */
function seriesOf(a: Found['attributes']): string {
  if (a[attributes.sourceAddress] === undefined && a[attributes.destinationAddress] === undefined)
    return JSON.stringify(a);
  return JSON.stringify(Object.entries(a).filter(([key]) => !key.startsWith(attributes.peerPrefix)));
}

/** Who talks to whom on this node, most bytes first. */
export function flowsOf(state: ViewState): Flows {
  const observed = [...state.sources.values()].some((source) => source.source.endsWith('/flow'));
  const byAddress = new Map<string, Subject>();
  // The node's own address is that of every pod on its network: it is nobody's name.
  for (const subject of state.subjects.values())
    if (!subject.entity?.hostNetwork) for (const ip of subject.entity?.ips ?? []) byAddress.set(ip, subject);
  const flows: Flow[] = [];
  for (const subject of state.subjects.values()) {
    for (const { address: peer, name, ...flow } of subjectFlows(subject, state)) {
      const end = byAddress.get(peer);
      flows.push({
        key: subject.key,
        pod: subject.name,
        namespace: subject.namespace,
        peer,
        peerName: end?.name ?? name,
        peerKey: end?.key,
        ...flow,
      });
    }
  }
  const rate = (f: Flow) => f.sentBytesPerSecond + f.receivedBytesPerSecond;
  return { observed, flows: flows.sort((a, b) => rate(b) - rate(a)) };
}
