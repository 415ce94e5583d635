import { exhaustMap, from, type Subscription, timer } from 'rxjs';
import { Denials } from '../../host/denials.ts';
import { NetlinkProtocol } from '../../host/netlink/message.ts';
import { NetlinkSubscription } from '../../host/netlink/subscription.ts';
import { type NetnsInfo, sharedInventory } from '../../host/netns/inventory.ts';
import type { ProcRoot } from '../../host/proc-root.ts';
import type { Batch, LogRecord, Scope } from '../../pipeline/batch.ts';
import type { ReceiverContext } from '../../pipeline/component.ts';
import type { NetlinkConfig } from './config.ts';
import { ConntrackEvents } from './conntrack-events.ts';
import { withNetns } from './enter.ts';
import type { LinkScraper } from './link.ts';
import { linkGroups } from './link-codec.ts';
import { Round } from './round.ts';
import { makeScrapers, type NamedScraper } from './scrapers.ts';

/** After losses the conntrack table is read again at once, but not more often than this. */
const resyncMs = 1000;

/** One run of the receiver: rounds over all namespaces, and the multicast sockets that are open all the time. */
export class Session {
  readonly #config: NetlinkConfig;
  readonly #context: ReceiverContext;
  readonly #root: ProcRoot;
  readonly #emit: (batch: Batch) => void;
  readonly #denials: Denials;
  readonly #scope: Scope;
  readonly #scrapers: readonly NamedScraper[];
  readonly #round: Round;
  readonly #events: ConntrackEvents | undefined;
  readonly #subscriptions: Subscription[] = [];
  #linkSubscription: NetlinkSubscription | undefined;
  #linkFailed = false;
  #resyncAtMs = Number.NEGATIVE_INFINITY;
  #resyncDue = false;
  #stopped = false;

  constructor(config: NetlinkConfig, context: ReceiverContext, root: ProcRoot, emit: (batch: Batch) => void) {
    this.#config = config;
    this.#context = context;
    this.#root = root;
    this.#emit = emit;
    this.#scope = Object.freeze({ name: 'skoopline/receivers/netlink', version: context.version });
    const logs = (scraper: string) => (records: readonly LogRecord[]) => this.#logs(scraper, records);
    this.#scrapers = makeScrapers(config, context, root, logs('link'));
    this.#denials = new Denials(root, context);
    this.#round = new Round(context, this.#scope, (batch) => this.#send(batch), this.#denials);
    const events = config.scrapers.conntrack.events;
    this.#events =
      config.scrapers.conntrack.enabled && events.enabled
        ? new ConntrackEvents(events, context, logs('conntrack'), () => this.#resync())
        : undefined;
  }

  start(): void {
    const { clock, pressure$ } = this.#context;
    // A round that takes longer than the interval is not joined by another.
    this.#subscriptions.push(
      timer(0, this.#config.collection_interval, clock.scheduler)
        .pipe(exhaustMap(() => from(this.#collect())))
        .subscribe(),
    );
    if (this.#events) this.#subscriptions.push(pressure$.subscribe((p) => this.#events?.pause(p)));
  }

  stop(): void {
    this.#stopped = true;
    for (const s of this.#subscriptions) s.unsubscribe();
    this.#round.stop();
    this.#events?.close();
    this.#linkSubscription?.close();
  }

  /** One round. Never rejects: what fails is counted. */
  async #collect(): Promise<void> {
    const { telemetry } = this.#context;
    try {
      const namespaces = await this.#namespaces();
      if (this.#stopped) return;
      this.#denials.add('processes', sharedInventory(this.#root).unreadable().processes);
      this.#events?.sync(namespaces);
      this.#listenToLinks(namespaces);
      await this.#round.run(this.#scrapers, namespaces);
    } catch (error) {
      telemetry.failed('round', error);
    }
  }

  /** At most half an interval old, so that receivers with the same interval share one look at /proc. */
  #namespaces(): Promise<readonly NetnsInfo[]> {
    return sharedInventory(this.#root).fresh(Math.min(5000, this.#config.collection_interval / 2));
  }

  /** The node's own interfaces are listened to: its namespace is not kept alive by that, it lives anyway. */
  #listenToLinks(namespaces: readonly NetnsInfo[]): void {
    const link = this.#scrapers.find((s) => s.name === 'link')?.scraper as LinkScraper | undefined;
    const host = namespaces.find((n) => n.host);
    const { link: config } = this.#config.scrapers;
    if (!link || !host || !config.events || this.#linkSubscription || this.#linkFailed) return;
    const { telemetry } = this.#context;
    try {
      this.#linkSubscription = withNetns(
        host,
        () =>
          new NetlinkSubscription(
            { protocol: NetlinkProtocol.route, groups: linkGroups, receiveBufferBytes: 1024 * 1024 },
            {
              message: (message) => {
                if (!link.message(host, message)) telemetry.rejected('malformed_link');
              },
              // The next round compares dumps: nothing but the moment is lost.
              overflow: () => telemetry.dropped('kernel_buffer_full', 1, 'logs'),
              error: (error) => telemetry.failed('link events', error),
            },
          ),
      );
    } catch (error) {
      // Without it changes are still seen, a round later.
      this.#linkFailed = true;
      telemetry.failed('link events', error);
    }
  }

  /** Reads the conntrack tables again after losses: at once, or when the last time is long enough ago. */
  #resync(): void {
    if (this.#resyncDue || this.#stopped) return;
    this.#resyncDue = true;
    const { clock } = this.#context;
    const waitMs = Math.max(0, this.#resyncAtMs + resyncMs - clock.monotonicMs());
    this.#subscriptions.push(timer(waitMs, clock.scheduler).subscribe(() => void this.#reread()));
  }

  async #reread(): Promise<void> {
    this.#resyncDue = false;
    this.#resyncAtMs = this.#context.clock.monotonicMs();
    for (let i = this.#subscriptions.length - 1; i >= 0; i--) {
      if (this.#subscriptions[i]?.closed) this.#subscriptions.splice(i, 1);
    }
    try {
      const namespaces = await this.#namespaces();
      await this.#round.run(
        this.#scrapers.filter((s) => s.name === 'conntrack'),
        namespaces,
      );
    } catch (error) {
      this.#context.telemetry.failed('conntrack', error);
    }
  }

  #logs(scraper: string, records: readonly LogRecord[]): void {
    this.#send({ kind: 'logs', source: `${this.#context.id}/${scraper}`, scope: this.#scope, records });
  }

  #send(batch: Batch): void {
    if (!this.#stopped) this.#emit(batch);
  }
}
