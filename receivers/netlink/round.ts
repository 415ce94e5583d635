import { uptime } from 'node:os';
import { Denials } from '../../host/denials.ts';
import { SysError } from '../../host/ffi/libc.ts';
import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { NetlinkSocket } from '../../host/netlink/socket.ts';
import type { NetnsInfo } from '../../host/netns/inventory.ts';
import { hostRoot, isDenied } from '../../host/proc-root.ts';
import type { MetricsBatch, Scope } from '../../pipeline/batch.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import { AbsentError, messageOf } from '../../pipeline/errors.ts';
import { withNetns } from './enter.ts';
import type { NetnsVisit, Scraper } from './scraper.ts';
import type { NamedScraper } from './scrapers.ts';

type Family = Scraper['families'][number];
const protocols: Readonly<Record<Family, number>> = {
  route: NetlinkProtocol.route,
  diag: NetlinkProtocol.sockDiag,
  netfilter: NetlinkProtocol.netfilter,
};

/** What a kernel says that lacks a family, a subsystem or a module. */
const absentCodes: ReadonlySet<string> = new Set([
  'EPROTONOSUPPORT',
  'EAFNOSUPPORT',
  'ENOENT',
  'EOPNOTSUPP',
  'ENOTSUPP',
]);

/** The event loop gets a turn after this long, between namespaces too. */
const sliceMs = 3;

/**
 * Visits every namespace with every scraper. The sockets of a namespace are opened in one go and closed when the round moves on: it
 * costs 4 µs a socket, and an open socket would keep a dead pod's namespace alive.
 */
export class Round {
  readonly #context: ReceiverContext;
  readonly #denials: Denials;
  readonly #scope: Scope;
  readonly #emit: (batch: MetricsBatch) => void;
  /** Sources that had something to say last time: their end is to be told too. */
  readonly #spoke = new Set<string>();
  readonly #failing = new Set<string>();
  /** When the machine started, Unix epoch ms: taken once, so that start times do not wander. */
  readonly #bootMs: number;
  #last: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(
    context: ReceiverContext,
    scope: Scope,
    emit: (batch: MetricsBatch) => void,
    denials = new Denials(hostRoot, context),
  ) {
    this.#context = context;
    this.#denials = denials;
    this.#scope = scope;
    this.#emit = emit;
    this.#bootMs = Math.round(context.clock.nowMs() - uptime() * 1000);
  }

  /** One round; waits for the one under way. */
  run(scrapers: readonly NamedScraper[], namespaces: readonly NetnsInfo[]): Promise<void> {
    const turn = this.#last.then(() => this.#run(scrapers, namespaces));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the round under way after the namespace it is in; nothing is emitted any more. */
  stop(): void {
    this.#stopped = true;
  }

  async #run(scrapers: readonly NamedScraper[], namespaces: readonly NetnsInfo[]): Promise<void> {
    for (const { scraper } of scrapers) scraper.begin?.();
    const families = [...new Set(scrapers.flatMap((s) => s.scraper.families))];
    const skip = new Set<string>();
    const failed = new Set<string>();
    let sliceEnds = performance.now() + sliceMs;
    for (const info of namespaces) {
      if (this.#stopped) return;
      await this.#visit(info, families, scrapers, skip, failed);
      if (performance.now() < sliceEnds) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceEnds = performance.now() + sliceMs;
    }
    if (this.#stopped) return;
    for (const name of this.#failing) if (!failed.has(name)) this.#recovered(name);
    const alive = new Set(namespaces.map((n) => n.life));
    for (const { name, scraper } of scrapers) this.#report(name, scraper, alive);
  }

  #report(name: string, scraper: Scraper, alive: ReadonlySet<number>): void {
    const snapshots = scraper.finish(alive);
    const source = `${this.#context.id}/${name}`;
    if (snapshots.length === 0 && !this.#spoke.has(source)) return;
    if (snapshots.length === 0) this.#spoke.delete(source);
    else this.#spoke.add(source);
    this.#emit({ kind: 'metrics', source, scope: this.#scope, snapshots });
  }

  async #visit(
    info: NetnsInfo,
    families: readonly Family[],
    scrapers: readonly NamedScraper[],
    skip: Set<string>,
    failed: Set<string>,
  ): Promise<void> {
    let visit: Visit | undefined;
    try {
      visit = withNetns(info, () => new Visit(info, families, this.#context, this.#bootMs));
    } catch (error) {
      if (isDenied(error)) this.#denials.add('namespaces');
      else {
        failed.add('netns');
        this.#fail('netns', error);
      }
    }
    if (visit === undefined) return;
    try {
      for (const { name, scraper } of scrapers) {
        if (skip.has(name)) continue;
        try {
          await scraper.visit(visit);
        } catch (error) {
          this.#classify(name, error, info, skip, failed);
        }
      }
    } finally {
      visit.close();
    }
  }

  /** What the node lacks, its pods lack too: they are not asked in this round (the node's namespace comes first). */
  #classify(name: string, error: unknown, info: NetnsInfo, skip: Set<string>, failed: Set<string>): void {
    if (error instanceof AbsentError || (error instanceof SysError && absentCodes.has(error.code))) {
      if (info.host) skip.add(name);
      this.#context.telemetry.absent(name, messageOf(error));
      return;
    }
    // Of what is asked here only this takes a right (nfnetlink_rcv() in net/netfilter/nfnetlink.c: CAP_NET_ADMIN).
    if (name === 'conntrack' && isDenied(error)) {
      this.#denials.add('conntrack');
      return;
    }
    failed.add(name);
    this.#fail(name, error);
  }

  #fail(name: string, error: unknown): void {
    this.#failing.add(name);
    this.#context.telemetry.failed(name, error);
  }

  #recovered(name: string): void {
    this.#failing.delete(name);
    this.#context.telemetry.recovered(name);
  }
}

/** The sockets of one namespace. A family the kernel lacks throws when it is used. */
class Visit implements NetnsVisit {
  readonly info: NetnsInfo;
  readonly startTimeMs: number;
  readonly timeMs: number;
  readonly #context: ReceiverContext;
  readonly #sockets = new Map<Family, NetlinkSocket | Error>();

  constructor(info: NetnsInfo, families: readonly Family[], context: ReceiverContext, bootMs: number) {
    this.info = info;
    this.#context = context;
    this.timeMs = context.clock.nowMs();
    // The node's counters began at boot, a pod's when its namespace was made: first sight is the best known of that.
    this.startTimeMs = info.host ? bootMs : info.firstSeenMs;
    for (const family of families) this.#sockets.set(family, openOrError(protocols[family]));
  }

  get route(): NetlinkSocket {
    return this.#socket('route');
  }
  get diag(): NetlinkSocket {
    return this.#socket('diag');
  }
  get netfilter(): NetlinkSocket {
    return this.#socket('netfilter');
  }

  rejected(reason: string, n = 1): void {
    this.#context.telemetry.rejected(reason, n);
  }

  dropped(reason: string, n = 1): void {
    this.#context.telemetry.dropped(reason, n, 'metrics');
  }

  close(): void {
    for (const socket of this.#sockets.values()) if (socket instanceof NetlinkSocket) socket.close();
  }

  #socket(family: Family): NetlinkSocket {
    const socket = this.#sockets.get(family);
    if (socket instanceof NetlinkSocket) return socket;
    throw socket ?? new Error(`The ${family} socket was not asked for.`);
  }
}

function openOrError(protocol: number): NetlinkSocket | Error {
  try {
    return NetlinkSocket.open({ protocol });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
