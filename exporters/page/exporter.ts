import type { Batch } from '../../pipeline/batch.ts';
import type { ComponentContext, Exporter } from '../../pipeline/component.ts';
import type { Config } from './config.ts';
import { PageServer } from './server.ts';
import { Viewers } from './viewers.ts';
import { Watch } from './watch.ts';

/** Takes everything, keeps the last of it untouched, and works something out of it only while a page is open. */
export class PageExporter implements Exporter {
  readonly #watch: Watch;
  readonly #server: PageServer;
  readonly #context: ComponentContext;

  constructor(config: Config, context: ComponentContext) {
    const { clock, node } = context;
    this.#context = context;
    this.#watch = new Watch({ clock, nodeName: node.name, historyBytes: config.history_bytes });
    const viewers = new Viewers(context, config.interval);
    viewers.onEmpty = () => this.#watch.rest();
    this.#server = new PageServer({ config, context, viewers, watch: this.#watch });
  }

  /** `http://127.0.0.1:9466`; undefined before the start. */
  get url(): string | undefined {
    return this.#server.url;
  }

  async start(): Promise<void> {
    await this.#server.start();
    this.#context.log.info({ url: this.#server.url }, 'The page is served.');
  }

  push(batch: Batch): Promise<void> {
    this.#watch.accept(batch);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    this.#watch.close();
  }
}
