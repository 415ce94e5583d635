import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Batch } from '../../pipeline/batch.ts';
import type { ComponentContext, Exporter } from '../../pipeline/component.ts';
import { messageOf } from '../../pipeline/errors.ts';
import { type AdditionalLabel, parseAdditionalLabel } from './additional-labels.ts';
import type { Config } from './config.ts';
import { chooseEncoding, chooseFormat, type Encoding, type Format, scrapeTimeoutMs } from './negotiate.ts';
import { renderProtobuf } from './protobuf.ts';
import { BufferPool, type Render, Rendering } from './rendering.ts';
import { ResourceLabels } from './resource-labels.ts';
import { MetricsServer, send } from './server.ts';
import { State } from './state.ts';
import { renderText } from './text.ts';
import type { View } from './view.ts';

/** How one scrape ended. */
type Outcome = 'ok' | 'nothing_collected' | 'failed' | 'disconnected' | 'timeout';

/**
 * Holds the latest batch of each source and serves it to scrapers. `push` only swaps a reference; everything else happens when
 * somebody scrapes.
 */
export class PrometheusExporter implements Exporter {
  readonly #config: Config;
  readonly #context: ComponentContext;
  readonly #state: State;
  readonly #server: MetricsServer;
  readonly #pool = new BufferPool();
  /** Renderings under way, by format and coding: concurrent scrapes of one moment share one. */
  readonly #running = new Map<string, { view: View; rendering: Rendering }>();
  readonly #count: ReturnType<typeof counters>;
  #lastView: View | undefined;

  constructor(config: Config, context: ComponentContext) {
    this.#config = config;
    this.#context = context;
    const nodeName = context.node.name;
    const labels = new ResourceLabels({
      naming: config.naming,
      resourceLabels: config.resource_labels,
      anonymousLabels: config.anonymous_resource_labels,
      additionalLabels: config.additional_labels
        .map((text) => parseAdditionalLabel(text))
        .filter((label): label is AdditionalLabel => typeof label !== 'string'),
      constLabels: config.const_labels,
      scopeLabels: config.scope_labels,
      nodeName,
    });
    const options = {
      naming: config.naming,
      extras: config.kubeskoop_extras,
      targetInfo: config.target_info && config.naming === 'otel',
      expirationMs: config.metric_expiration,
      nodeName,
    };
    this.#state = new State(options, context.clock, labels);
    this.#server = new MetricsServer(config, {
      scrape: (request, response) => this.#scrape(request, response),
      refused: (reason) => this.#count.refused.add(1, { reason }),
      reloaded: (error) => {
        if (error === undefined) context.telemetry.recovered('certificate reload');
        else context.telemetry.failed('certificate reload', error);
      },
    });
    this.#count = counters(context);
    context.telemetry.gauge('scrapes_in_flight', '{scrape}', 'Scrapes being served.', () => this.#server.inFlight);
    context.telemetry.gauge('sources', '{source}', 'Sources that a scrape shows.', () => this.#state.sources);
    context.telemetry.gauge(
      'duplicate_series',
      '{series}',
      'Series left out of the last scrape: a younger owner has the same name and labels.',
      () => this.#lastView?.duplicates ?? 0,
    );
  }

  /** Port in use; for `endpoint: host:0`. */
  get port(): number | undefined {
    return this.#server.port;
  }

  /** Scrapes being served now. */
  get inFlight(): number {
    return this.#server.inFlight;
  }

  async start(): Promise<void> {
    await this.#server.start();
    this.#context.log.info({ endpoint: this.#config.endpoint, port: this.port }, 'Serving metrics for Prometheus.');
  }

  push(batch: Batch): Promise<void> {
    if (batch.kind === 'metrics') this.#state.put(batch);
    return Promise.resolve();
  }

  async stop(signal: AbortSignal): Promise<void> {
    await this.#server.stop(signal);
  }

  async #scrape(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const began = this.#context.clock.monotonicMs();
    const offer = chooseFormat(request.headers.accept, {
      openMetrics: this.#config.enable_open_metrics,
      protobuf: this.#config.native_histograms,
    });
    const encoding = chooseEncoding(request.headers['accept-encoding'], this.#config.compression);
    const outcome = await this.#serve(request, response, offer.format, offer.contentType, encoding);
    const attributes = { format: offer.format, outcome };
    this.#count.scrapes.add(1, attributes);
    this.#count.duration.add((this.#context.clock.monotonicMs() - began) / 1000, attributes);
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    format: Format,
    contentType: string,
    encoding: Encoding,
  ): Promise<Outcome> {
    let view: View | undefined;
    try {
      view = this.#view();
    } catch (error) {
      this.#context.telemetry.failed('scrape', error);
      send(response, 503, 'text/plain; charset=utf-8', `The metrics cannot be arranged: ${messageOf(error)}\n`);
      return 'failed';
    }
    if (view === undefined || view.families.length === 0) {
      // An empty 200 would tell Prometheus that every series has ended.
      send(response, 503, 'text/plain; charset=utf-8', 'Nothing has been collected.\n');
      return 'nothing_collected';
    }
    response.setHeader('Content-Type', contentType);
    response.setHeader('Vary', 'Accept, Accept-Encoding');
    if (encoding !== 'identity') response.setHeader('Content-Encoding', encoding);
    if (request.method === 'HEAD') {
      response.end();
      return 'ok';
    }
    const timeoutMs = Math.min(
      this.#config.write_timeout,
      scrapeTimeoutMs(request.headers) ?? Number.POSITIVE_INFINITY,
    );
    return this.#stream(response, this.#rendering(view, format, encoding), timeoutMs);
  }

  #view(): View | undefined {
    const view = this.#state.view();
    if (view !== undefined && view !== this.#lastView) {
      if (view.typeConflicts.length > 0) {
        const names = view.typeConflicts.join(', ');
        this.#context.telemetry.failed('families', new Error(`Two metrics of different types have the name ${names}.`));
      }
      this.#lastView = view;
    }
    return view;
  }

  #rendering(view: View, format: Format, encoding: Encoding): Rendering {
    const key = `${format}/${encoding}`;
    const running = this.#running.get(key);
    if (running && running.view === view && running.rendering.open) return running.rendering;
    const bounds = this.#config.max_buckets;
    const render: Render = (allocate) =>
      format === 'protobuf' ? renderProtobuf(view, allocate, bounds) : renderText(view, format, allocate, bounds);
    const rendering = new Rendering(render, encoding, this.#pool);
    this.#running.set(key, { view, rendering });
    return rendering;
  }

  async #stream(response: ServerResponse, rendering: Rendering, timeoutMs: number): Promise<Outcome> {
    const reader = rendering.reader();
    const writer = new ChunkWriter(response, timeoutMs);
    try {
      for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
        if (!(await writer.write(chunk))) return writer.timedOut ? 'timeout' : 'disconnected';
        this.#count.bytes.add(chunk.length);
      }
      response.end();
      return 'ok';
    } catch (error) {
      // Headers are out: a cut connection is the only way left to say that this scrape is not whole.
      this.#context.telemetry.failed('scrape', error);
      response.destroy();
      return 'failed';
    } finally {
      writer.close();
      reader.close();
      for (const [key, r] of this.#running) if (!r.rendering.open) this.#running.delete(key);
    }
  }
}

/** Writes chunks one at a time: the next begins when the kernel has taken the last, or the peer is gone, or time is up. */
class ChunkWriter {
  readonly #response: ServerResponse;
  readonly #timer: NodeJS.Timeout;
  readonly #onClose: () => void;
  #wake: ((written: boolean) => void) | undefined;
  #closed = false;
  timedOut = false;

  constructor(response: ServerResponse, timeoutMs: number) {
    this.#response = response;
    this.#onClose = () => {
      this.#closed = true;
      this.#wake?.(false);
    };
    response.once('close', this.#onClose);
    this.#timer = setTimeout(() => {
      this.timedOut = true;
      response.destroy();
    }, timeoutMs);
  }

  /** False when the peer is gone. */
  write(chunk: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#closed) return resolve(false);
      this.#wake = resolve;
      this.#response.write(chunk, (error) => resolve(!error));
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#response.off('close', this.#onClose);
  }
}

function counters({ telemetry }: ComponentContext) {
  return {
    scrapes: telemetry.counter('scrapes', '{scrape}', 'Scrapes, by format and how they ended.'),
    duration: telemetry.counter('scrape_duration', 's', 'Time spent in scrapes, sending included.'),
    bytes: telemetry.counter('scrape_bytes', 'By', 'Bytes sent to scrapers, after compression.'),
    refused: telemetry.counter('requests_refused', '{request}', 'Requests turned away, by reason.'),
  };
}
