import type { Subscription } from 'rxjs';
import { interval } from 'rxjs';
import type { Clock } from '../../pipeline/clock.ts';
import type { NodeView } from '../../view/node-view.ts';
import { isPod } from './columns.ts';
import { type Data, type PodData, takeData, takePod } from './data.ts';
import { frame } from './frame.ts';
import { rowsOf } from './list-page.ts';
import { renderLine } from './text.ts';
import type { Tty } from './tty.ts';
import { firstUi, type Key, press, type Ui } from './ui.ts';

/** Time between two pictures when nobody presses a key, ms. */
const redrawMs = 500;

/** The picture on a terminal, kept up to date. */
export class Screen {
  readonly #view: NodeView;
  readonly #clock: Clock;
  readonly #tty: Tty;
  readonly #quit: () => void;
  #ui: Ui = firstUi;
  #data: Data | undefined;
  #pod: PodData | undefined;
  #hasNews = true;
  /** Rows as they stand on the terminal. */
  #drawn: string[] = [];
  #timer: Subscription | undefined;

  /** @param quit asked for by a key, or the terminal is gone. */
  constructor(view: NodeView, clock: Clock, tty: Tty, quit: () => void) {
    this.#view = view;
    this.#clock = clock;
    this.#tty = tty;
    this.#quit = quit;
  }

  start(): void {
    this.#tty.take({ key: (key) => this.#press(key), redraw: () => this.#redraw(), gone: this.#quit });
    this.#timer = interval(redrawMs, this.#clock.scheduler).subscribe(() => this.#draw());
    this.#draw();
  }

  stop(): void {
    this.#timer?.unsubscribe();
    this.#tty.giveBack();
  }

  /** The view was given something. */
  news(): void {
    this.#hasNews = true;
  }

  get #hasPods(): boolean {
    return this.#data?.pods.some(isPod) ?? false;
  }

  #press(key: Key): void {
    const next = press(this.#ui, key, rowsOf(this.#data?.pods ?? [], this.#ui));
    if (next === 'quit') {
      this.#quit();
      return;
    }
    const isOtherData =
      next.filter !== this.#ui.filter || next.all !== this.#ui.all || (this.#ui.paused && !next.paused);
    this.#ui = next;
    if (isOtherData) this.#hasNews = true;
    this.#draw();
  }

  #redraw(): void {
    this.#drawn = [];
    this.#draw();
  }

  #draw(): void {
    const { width, height, colour } = this.#tty;
    if (this.#tty.isBusy || width < 1 || height < 3) return;
    const { paused, filter, open, all } = this.#ui;
    // As the list: on a node with pods, what other namespaces do is shown on demand.
    const named = !all && this.#hasPods;
    const nowMs = this.#clock.nowMs();
    // The clock in the title goes on; the rest is worked out when there is something new, or a second is over: windows move on.
    if (!this.#data || (!paused && (this.#hasNews || nowMs - this.#data.timeMs >= 1000))) {
      this.#data = takeData(this.#view, nowMs, { text: filter, named });
      this.#hasNews = false;
    }
    if (open === undefined) this.#pod = undefined;
    else if (!paused || this.#pod?.pod.key !== open) this.#pod = takePod(this.#view, open, { text: filter });
    const rows = frame(this.#data, this.#pod, this.#ui, width, height).map((line) => renderLine(line, width, colour));
    let out = '';
    rows.forEach((row, i) => {
      if (row !== this.#drawn[i]) out += `\u001b[${i + 1};1H${row}\u001b[0m\u001b[K`;
    });
    this.#drawn = rows;
    // One write, and where the terminal knows how (DEC mode 2026) one picture: no flicker.
    if (out !== '') this.#tty.write(`\u001b[?2026h${out}\u001b[?2026l`);
  }
}
