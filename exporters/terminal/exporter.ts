import type { Writable } from 'node:stream';
import { interval, type Subscription } from 'rxjs';
import type { Batch } from '../../pipeline/batch.ts';
import type { ComponentContext, Exporter } from '../../pipeline/component.ts';
import { errnoOf } from '../../pipeline/errors.ts';
import { NodeView } from '../../view/node-view.ts';
import type { Config } from './config.ts';
import { takeData } from './data.ts';
import { jsonText, tableText } from './plain.ts';
import { Screen } from './screen.ts';
import { ProcessTty, type Tty } from './tty.ts';

/** How long a view looks back, and how long a history is, ms. */
const windowMs = 300_000;
const historyMs = 600_000;
const mostPoints = 300;

/** What of the process it touches; tests bring their own. */
export interface TerminalDoors {
  readonly out: Writable;
  /** The terminal; undefined = there is none. */
  readonly tty: Tty | undefined;
  /** Asks the process to stop, as Ctrl-C in any other program does: only cli/ may end it. */
  readonly interrupt: () => void;
}

const processDoors = (): TerminalDoors => ({
  out: process.stdout,
  tty: process.stdin.isTTY && process.stdout.isTTY ? new ProcessTty() : undefined,
  interrupt: () => process.kill(process.pid, 'SIGINT'),
});

/** Feeds a view of the node, and draws it: on the whole terminal, or as a table an interval. */
export class TerminalExporter implements Exporter {
  readonly #config: Config;
  readonly #context: ComponentContext;
  readonly #doors: TerminalDoors;
  readonly #view: NodeView;
  #screen: Screen | undefined;
  #timer: Subscription | undefined;
  #printed = 0;
  /** Sources at the last look. */
  #sources = 0;

  constructor(config: Config, context: ComponentContext, doors: TerminalDoors = processDoors()) {
    this.#config = config;
    this.#context = context;
    this.#doors = doors;
    this.#view = new NodeView({
      nodeName: context.node.name,
      clock: context.clock,
      stepMs: config.interval,
      points: Math.min(mostPoints, Math.ceil(historyMs / config.interval)),
      windowMs,
    });
  }

  async start(): Promise<void> {
    const { mode, interval: every } = this.#config;
    const { clock } = this.#context;
    const { tty, interrupt, out } = this.#doors;
    if (mode === 'screen' && !tty) throw new Error('There is no terminal for mode: screen.');
    if (tty && mode !== 'plain') {
      this.#screen = new Screen(this.#view, clock, tty, interrupt);
      this.#screen.start();
      return;
    }
    out.on('error', this.#onError);
    this.#timer = interval(every, clock.scheduler).subscribe(() => this.#print());
  }

  push(batch: Batch): Promise<void> {
    this.#view.accept(batch);
    this.#screen?.news();
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#timer?.unsubscribe();
    this.#doors.out.off('error', this.#onError);
    this.#screen?.stop();
    this.#screen = undefined;
    return Promise.resolve();
  }

  #print(): void {
    const { count, format, pods } = this.#config;
    const { out, interrupt } = this.#doors;
    if (!this.#isSettled() || (count > 0 && this.#printed >= count)) return;
    // A reader that is slow misses a table; the next one tells more anyway.
    if (out.writableNeedDrain) return;
    const data = takeData(this.#view, this.#context.clock.nowMs(), {});
    const text = format === 'json' ? jsonText(data) : tableText(data, pods);
    const isLast = ++this.#printed === count;
    out.write(text, (error) => {
      if (!error && isLast) interrupt();
    });
  }

  /** Before the first table: every source has been collected twice, which is when there are rates, and none is new. */
  #isSettled(): boolean {
    if (this.#printed > 0) return true;
    const { sources } = this.#view.node();
    const same = sources.length === this.#sources;
    this.#sources = sources.length;
    return sources.length > 0 && same && sources.every((s) => s.collections > 1);
  }

  readonly #onError = (error: Error) => {
    this.#context.telemetry.failed('standard output', error);
    this.#timer?.unsubscribe();
    if (errnoOf(error) === 'EPIPE') this.#doors.interrupt();
  };
}
