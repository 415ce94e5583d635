import { type NetlinkMessage, NetlinkProtocol, NLM_F_CREATE, NLM_F_EXCL } from '../../host/netlink/message.ts';
import { NetlinkSubscription } from '../../host/netlink/subscription.ts';
import { netnsOwner } from '../../host/netns/identity.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { type LogRecord, noResource, type Owner } from '../../pipeline/batch.ts';
import type { AttributeValue } from '../../pipeline/catalogue.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import type { NetlinkConfig } from './config.ts';
import {
  type ConntrackEntry,
  CT_DELETE,
  CT_NEW,
  conntrackGroups,
  natName,
  newEntry,
  protocolName,
  readEntry,
  stateName,
  type Tuple,
  takeRejects,
} from './conntrack-codec.ts';
import { withNetns } from './enter.ts';

type Change = 'new' | 'update' | 'destroy';
const kubeskoopTypes = { new: 'ConntrackNew', update: 'ConntrackUpdate', destroy: 'ConntrackDestroy' } as const;
const words = { new: 'began', update: 'changed', destroy: 'ended' } as const;

/** Which change a ctnetlink event tells of; undefined for other messages. New ones carry NLM_F_CREATE | NLM_F_EXCL. */
export function changeOf(message: NetlinkMessage): Change | undefined {
  if (message.type === CT_DELETE) return 'destroy';
  if (message.type !== CT_NEW) return undefined;
  return (message.flags & (NLM_F_CREATE | NLM_F_EXCL)) !== 0 ? 'new' : 'update';
}

/** A change as a log record. The kernel's own time is used where nf_conntrack_timestamp is on. */
export function conntrackRecord(owner: Owner, change: Change, e: ConntrackEntry, nowNs: bigint): LogRecord {
  const protocol = protocolName(e.original.protocol);
  const state = stateName(e.original.protocol, e.tcpState, e.status);
  const nat = Number.isNaN(e.status) ? '' : natName(e.status);
  const attributes: Record<string, AttributeValue> = {
    'kubeskoop.type': kubeskoopTypes[change],
    'network.transport': protocol,
    'network.type': e.family === 10 ? 'ipv6' : 'ipv4',
    'source.address': e.original.source,
    'destination.address': e.original.destination,
    'skoop.conntrack.reply.source.address': e.reply.source,
    'skoop.conntrack.reply.destination.address': e.reply.destination,
  };
  const number = (key: string, value: number) => {
    if (!Number.isNaN(value)) attributes[key] = value;
  };
  number('source.port', e.original.sourcePort);
  number('destination.port', e.original.destinationPort);
  number('skoop.conntrack.reply.source.port', e.reply.sourcePort);
  number('skoop.conntrack.reply.destination.port', e.reply.destinationPort);
  number('skoop.conntrack.original.packets', e.originalPackets);
  number('skoop.conntrack.original.bytes', e.originalBytes);
  number('skoop.conntrack.reply.packets', e.replyPackets);
  number('skoop.conntrack.reply.bytes', e.replyBytes);
  if (state !== '') attributes['skoop.conntrack.state'] = state;
  if (nat !== '') attributes['skoop.conntrack.nat'] = nat;
  if (e.zone > 0) attributes['skoop.conntrack.zone'] = e.zone;
  if (e.mark > 0) attributes['skoop.conntrack.mark'] = e.mark;
  const at = change === 'new' ? e.startNs : change === 'destroy' ? e.stopNs : undefined;
  return {
    timeUnixNs: at ?? nowNs,
    observedTimeUnixNs: nowNs,
    severityNumber: 9,
    eventName: `skoop.conntrack.${change}`,
    body: `Connection ${protocol} ${endpoint(e.original, 'source')} → ${endpoint(e.original, 'destination')} ${words[change]}${state === '' ? '' : ` (${state})`}.`,
    attributes: Object.freeze(attributes),
    owner,
    resource: noResource,
  };
}

function endpoint(t: Tuple, side: 'source' | 'destination'): string {
  const address = t[side];
  const port = side === 'source' ? t.sourcePort : t.destinationPort;
  if (Number.isNaN(port)) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

interface Listener {
  readonly owner: Owner;
  readonly subscription: NetlinkSubscription;
  tokens: number;
  refilledMs: number;
  /** Losses already reported. */
  lost: number;
  malformed: number;
}

/** Records handed over in one batch at most. */
const maxRecords = 512;

/** Connection tracking events of the namespaces that are asked for. What the kernel or the rate limit drops is counted. */
export class ConntrackEvents {
  readonly #config: NetlinkConfig['scrapers']['conntrack']['events'];
  readonly #context: ReceiverContext;
  readonly #emit: (records: readonly LogRecord[]) => void;
  readonly #resync: () => void;
  readonly #listeners = new Map<number, Listener>();
  readonly #entry = newEntry();
  readonly #received: { add(n: number): void };
  #pending: LogRecord[] = [];
  #flush: NodeJS.Immediate | undefined;
  #paused = false;

  /** @param resync called after losses: what was derived from the table is to be read again. */
  constructor(
    config: NetlinkConfig['scrapers']['conntrack']['events'],
    context: ReceiverContext,
    emit: (records: readonly LogRecord[]) => void,
    resync: () => void,
  ) {
    this.#config = config;
    this.#context = context;
    this.#emit = emit;
    this.#resync = resync;
    this.#received = context.telemetry.counter('conntrack_events', '{event}', 'Conntrack events read from the kernel.');
  }

  /** Listens in the namespaces that exist now, and no longer in those that are gone: an open socket keeps its namespace alive. */
  sync(namespaces: readonly NetnsInfo[]): void {
    const wanted = namespaces.filter((n) => n.host || this.#config.namespaces === 'all');
    const kept = wanted.slice(0, this.#config.max_namespaces);
    if (kept.length < wanted.length) {
      this.#context.telemetry.failed(
        'conntrack events',
        `More than ${kept.length} namespaces; the others are not listened to.`,
      );
    }
    const alive = new Set(kept.map((n) => n.netns));
    for (const [netns, listener] of this.#listeners) if (!alive.has(netns)) this.#stop(netns, listener);
    for (const info of kept) {
      const listener = this.#listeners.get(info.netns);
      if (listener === undefined) this.#listen(info);
      else this.#account(listener);
    }
  }

  /** Above the high-water mark reading stops: the kernel buffers, then drops and counts. */
  pause(paused: boolean): void {
    this.#paused = paused;
    for (const { subscription } of this.#listeners.values()) {
      if (paused) subscription.pause();
      else subscription.resume();
    }
  }

  close(): void {
    for (const [netns, listener] of this.#listeners) this.#stop(netns, listener);
    clearImmediate(this.#flush);
    this.#send();
  }

  #listen(info: NetnsInfo): void {
    const { telemetry, clock } = this.#context;
    const { netns } = info;
    try {
      const subscription = withNetns(info, () => this.#subscribe(netns));
      if (subscription === undefined) return;
      const listener = {
        owner: netnsOwner(info),
        subscription,
        tokens: this.#config.rate_limit,
        refilledMs: clock.monotonicMs(),
        lost: 0,
        malformed: 0,
      };
      this.#listeners.set(netns, listener);
      if (this.#paused) subscription.pause();
    } catch (error) {
      telemetry.failed('conntrack events', error);
    }
  }

  #subscribe(netns: number): NetlinkSubscription {
    return new NetlinkSubscription(
      {
        protocol: NetlinkProtocol.netfilter,
        groups: this.#config.types.map((type) => conntrackGroups[type]),
        receiveBufferBytes: this.#config.receive_buffer,
      },
      {
        message: (message) => this.#take(netns, message),
        overflow: () => this.#overflowed(netns),
        error: (error) => this.#context.telemetry.failed('conntrack events', error),
      },
    );
  }

  #take(netns: number, message: NetlinkMessage): void {
    const change = changeOf(message);
    const listener = this.#listeners.get(netns);
    if (change === undefined || listener === undefined) return;
    this.#received.add(1);
    if (!this.#allowed(listener)) {
      this.#context.telemetry.dropped('rate_limit', 1, 'logs');
      return;
    }
    const readable = readEntry(message, this.#entry);
    const bad = takeRejects() + Number(!readable);
    if (bad > 0) this.#context.telemetry.rejected('malformed_conntrack', bad);
    if (readable) this.#push(conntrackRecord(listener.owner, change, this.#entry, this.#context.clock.nowUnixNs()));
  }

  #allowed(listener: Listener): boolean {
    const rate = this.#config.rate_limit;
    if (rate === 0) return true;
    const nowMs = this.#context.clock.monotonicMs();
    listener.tokens = Math.min(rate, listener.tokens + ((nowMs - listener.refilledMs) * rate) / 1000);
    listener.refilledMs = nowMs;
    if (listener.tokens < 1) return false;
    listener.tokens--;
    return true;
  }

  #overflowed(netns: number): void {
    const listener = this.#listeners.get(netns);
    if (listener !== undefined) this.#account(listener);
    this.#resync();
  }

  /** Counts what the kernel dropped and what was malformed since the last look. */
  #account(listener: Listener): void {
    const { telemetry, clock } = this.#context;
    // sk_drops is 32 bits and wraps.
    const lost = (listener.subscription.lost - listener.lost) >>> 0;
    const malformed = listener.subscription.malformed - listener.malformed;
    listener.lost += lost;
    listener.malformed += malformed;
    if (malformed > 0) telemetry.rejected('malformed_conntrack', malformed);
    if (lost === 0) return;
    telemetry.dropped('kernel_buffer_full', lost, 'logs');
    const now = clock.nowUnixNs();
    this.#push({
      timeUnixNs: now,
      observedTimeUnixNs: now,
      severityNumber: 13,
      eventName: 'skoop.conntrack.events_lost',
      body: `The kernel dropped ${lost} connection events.`,
      attributes: Object.freeze({ 'skoop.lost': lost }),
      owner: listener.owner,
      resource: noResource,
    });
  }

  #stop(netns: number, listener: Listener): void {
    listener.subscription.close();
    this.#account(listener);
    this.#listeners.delete(netns);
  }

  #push(record: LogRecord): void {
    this.#pending.push(record);
    if (this.#pending.length >= maxRecords) this.#send();
    this.#flush ??= setImmediate(() => this.#send());
  }

  #send(): void {
    clearImmediate(this.#flush);
    this.#flush = undefined;
    if (this.#pending.length === 0) return;
    const records = this.#pending;
    this.#pending = [];
    this.#emit(records);
  }
}
