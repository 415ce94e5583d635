import uPlot from 'uplot';
import type { LatencyHistory, SubjectHistory } from '../../../view/types.ts';
import { cssColor, h } from './dom.ts';
import { clock, count, seconds } from './format.ts';

/** Charts of one page move their cursors together. */
const sync = 'page';
const font = '11px system-ui, sans-serif';

interface Line {
  readonly label: string;
  readonly values: readonly number[];
  /** Custom property with its colour. */
  readonly color: string;
}

/** A chart in a figure of its own, as wide as that. */
export abstract class Chart {
  readonly element: HTMLElement;
  readonly #frame = h('div', { class: 'chart' });
  readonly #observer: ResizeObserver;
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)');
  readonly #height: number;
  readonly #onScheme = () => this.redraw();
  protected plot: uPlot | undefined;

  constructor(title: string, height: number) {
    this.element = h('figure', {}, h('figcaption', {}, title), this.#frame);
    this.#height = height;
    this.#observer = new ResizeObserver(() => this.plot?.setSize({ width: this.#width(), height }));
    this.#observer.observe(this.#frame);
    // What is on a canvas does not follow the style sheet by itself.
    this.#scheme.addEventListener('change', this.#onScheme);
  }

  close(): void {
    this.#observer.disconnect();
    this.#scheme.removeEventListener('change', this.#onScheme);
    this.plot?.destroy();
    this.plot = undefined;
  }

  /** Draws anew from what is known: colours have changed. */
  protected abstract redraw(): void;

  protected make(options: Omit<uPlot.Options, 'width' | 'height'>, data: uPlot.AlignedData): uPlot {
    this.plot?.destroy();
    this.plot = new uPlot({ ...options, width: this.#width(), height: this.#height }, data, this.#frame);
    return this.plot;
  }

  #width(): number {
    return Math.max(200, this.#frame.clientWidth);
  }
}

/** Rates over time. */
export class LineChart extends Chart {
  readonly #format: (n: number) => string;
  readonly #readout = h('span', { class: 'readout' });
  #times: readonly number[] = [];
  #lines: readonly Line[] = [];

  constructor(title: string, format: (n: number) => string) {
    super(title, 150);
    this.#format = format;
    this.element.querySelector('figcaption')!.append(this.#readout);
  }

  update({ timesMs, stepMs }: SubjectHistory, lines: readonly Line[]): void {
    const isSame = this.plot && lines.map((l) => l.label).join() === this.#lines.map((l) => l.label).join();
    // A step is drawn where it ends; the one under way has not ended.
    this.#times = timesMs.slice(0, -1).map((ms) => (ms + stepMs) / 1000);
    this.#lines = lines.map((line) => ({ ...line, values: line.values.slice(0, -1) }));
    if (isSame) this.plot!.setData(this.#data());
    else this.redraw();
    this.#tell(this.plot!);
  }

  protected redraw(): void {
    const axis = axisStyle();
    this.make(
      {
        cursor: { sync: { key: sync }, y: false },
        legend: { show: false },
        scales: { x: { time: true }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
        axes: [timeAxis(axis), { ...axis, size: 62, values: (_u, splits) => splits.map((v) => this.#format(v)) }],
        series: [
          {},
          ...this.#lines.map(({ label, color }) => ({
            label,
            stroke: cssColor(color),
            width: 1.5,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(u) => this.#tell(u)] },
      },
      this.#data(),
    );
  }

  /** Values under the cursor, or the newest. */
  #tell(u: uPlot): void {
    const { idx } = u.cursor;
    const at = idx ?? this.#times.length - 1;
    const time = idx === null || idx === undefined ? '' : clock(this.#times[at]! * 1000, false);
    this.#readout.replaceChildren(
      time,
      ...this.#lines.map(({ label, values, color }) => {
        const key = h('i', { class: 'key' });
        key.style.background = `var(${color})`;
        return h('span', {}, key, `${label} ${this.#format(values[at] ?? 0)}`);
      }),
    );
  }

  #data(): uPlot.AlignedData {
    return [this.#times as number[], ...this.#lines.map((l) => l.values as number[])];
  }
}

/** A latency over time: a column a step, a row a bucket, the darker the more often. */
export class HeatMap extends Chart {
  readonly #readout: HTMLElement;
  #history: LatencyHistory | undefined;
  #most = 1;
  #low = 0;
  #high = 1;

  constructor(title: string) {
    super(title, 150);
    this.#readout = h('span', { class: 'readout' });
    this.element.querySelector('figcaption')!.append(this.#readout);
  }

  /** Puts a text beside the title: percentiles. */
  describe(text: string): void {
    this.#readout.dataset['rest'] = text;
    if (this.plot?.cursor.idx === null || this.plot === undefined) this.#readout.textContent = text;
  }

  update(history: LatencyHistory): void {
    this.#history = history;
    const used = history.bounds.map((_, b) => history.counts.some((row) => (row?.[b] ?? 0) > 0));
    this.#low = Math.max(0, used.indexOf(true) - 1);
    this.#high = Math.min(history.bounds.length, used.lastIndexOf(true) + 2);
    this.#most = Math.max(1, ...history.counts.flatMap((row) => row ?? []));
    if (this.plot) this.plot.setData(this.#data());
    else this.redraw();
  }

  protected redraw(): void {
    const axis = axisStyle();
    this.make(
      {
        cursor: { sync: { key: sync }, y: true, points: { show: false } },
        legend: { show: false },
        scales: {
          x: { time: true, range: () => this.#span() },
          y: { range: () => [this.#low, this.#high] },
        },
        axes: [
          timeAxis(axis),
          {
            ...axis,
            size: 62,
            splits: () => this.#splits(),
            // Bucket b reaches up to bound b: the line y = b + 1.
            values: (_u, splits) => splits.map((b) => seconds(this.#history?.bounds[b - 1] ?? 0)),
          },
        ],
        series: [{}, { show: true, paths: () => null, points: { show: false } }],
        hooks: { draw: [(u) => this.#paint(u)], setCursor: [(u) => this.#tell(u)] },
      },
      this.#data(),
    );
  }

  #data(): uPlot.AlignedData {
    const times = this.#history?.timesMs.map((ms) => ms / 1000) ?? [];
    return [times, times.map(() => this.#low)];
  }

  #span(): [number, number] {
    const { timesMs = [], stepMs = 1 } = this.#history ?? {};
    const first = timesMs[0] ?? 0;
    return [first / 1000, ((timesMs.at(-1) ?? first) + stepMs) / 1000];
  }

  #splits(): number[] {
    const rows = this.#high - this.#low;
    const every = Math.max(1, Math.ceil(rows / 5));
    const out: number[] = [];
    for (let b = this.#low + 1; b <= this.#high; b += every) out.push(b);
    return out;
  }

  #paint(u: uPlot): void {
    const { ctx } = u;
    const { timesMs, stepMs, counts } = this.#history!;
    ctx.save();
    ctx.fillStyle = cssColor('--heat');
    for (const [i, row] of counts.entries()) {
      if (!row) continue;
      const left = Math.round(u.valToPos(timesMs[i]! / 1000, 'x', true));
      const right = Math.round(u.valToPos((timesMs[i]! + stepMs) / 1000, 'x', true));
      for (const [b, n] of row.entries()) {
        if (n === 0) continue;
        const top = Math.round(u.valToPos(b + 1, 'y', true));
        const bottom = Math.round(u.valToPos(b, 'y', true));
        ctx.globalAlpha = 0.18 + 0.82 * Math.sqrt(n / this.#most);
        ctx.fillRect(left, top, Math.max(1, right - left - 1), Math.max(1, bottom - top - 1));
      }
    }
    ctx.restore();
  }

  /** What is under the cursor, in words. */
  #tell(u: uPlot): void {
    const { left = -1, top = -1 } = u.cursor;
    const history = this.#history;
    if (left < 0 || top < 0 || !history) {
      this.#readout.textContent = this.#readout.dataset['rest'] ?? '';
      return;
    }
    const { timesMs, stepMs, bounds, counts } = history;
    const i = Math.floor((u.posToVal(left, 'x') * 1000 - (timesMs[0] ?? 0)) / stepMs);
    const b = Math.floor(u.posToVal(top, 'y'));
    const at = timesMs[i];
    if (at === undefined) return;
    const from = b > 0 ? seconds(bounds[b - 1]!) : '0';
    this.#readout.textContent = `${clock(at, false)}  ${from} – ${seconds(bounds[b] ?? 0)}: ${count(counts[i]?.[b] ?? 0)}`;
  }
}

function timeAxis(axis: uPlot.Axis): uPlot.Axis {
  return { ...axis, size: 24, space: 70, values: (_u, splits) => splits.map((s) => clock(s * 1000, false)) };
}

function axisStyle(): uPlot.Axis {
  const line = cssColor('--line');
  return {
    stroke: cssColor('--quiet'),
    font,
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
    gap: 6,
  };
}
