import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { testContext } from '../../pipeline/testing.ts';
import { metricsBatch, podResource, snapshot } from '../../view/testing.ts';
import { config } from './config.ts';
import { takeData, takePod } from './data.ts';
import { TerminalExporter } from './exporter.ts';
import { frame } from './frame.ts';
import { rowsOf } from './list-page.ts';
import { jsonText, tableText } from './plain.ts';
import { troubledNode } from './testing.ts';
import { clean, fit, number, plainLine, renderLine, seconds, sparkline } from './text.ts';
import type { Tty, TtyEvents } from './tty.ts';
import { firstUi, press, type Ui } from './ui.ts';

function picture(ui: Partial<Ui>, width: number, height: number, names = {}): string {
  const { view, clock } = troubledNode(names);
  const all: Ui = { ...firstUi, ...ui };
  const words = { text: all.filter };
  const data = takeData(view, clock.nowMs(), words);
  const pod = all.open === undefined ? undefined : takePod(view, all.open, words);
  const lines = frame(data, pod, all, width, height);
  assert.equal(lines.length, height);
  return `${lines.map(plainLine).join('\n')}\n`;
}

/** Holds a picture against the committed one; UPDATE_GOLDEN=1 writes it. */
function golden(name: string, text: string): void {
  const file = `${import.meta.dirname}/testdata/${name}.txt`;
  if (process.env['UPDATE_GOLDEN'] || !existsSync(file)) writeFileSync(file, text);
  assert.equal(text, readFileSync(file, 'utf8'));
}

describe('pictures', () => {
  it('show the list, wide, as on an old terminal, and small', () => {
    golden('list-160x40', picture({}, 160, 40));
    golden('list-80x24', picture({}, 80, 24));
    golden('list-40x10', picture({}, 40, 10));
  });

  it("show a pod's page, wide and narrow, and that it is gone", () => {
    golden('pod-160x40', picture({ page: 'pod', open: 'pod/uid-web' }, 160, 40));
    golden('pod-80x30', picture({ page: 'pod', open: 'pod/uid-web' }, 80, 30));
    assert.match(picture({ page: 'pod', open: 'pod/other' }, 80, 24), /This pod is gone/);
  });

  it('show the help and the filter as it is typed', () => {
    golden('help-100x30', picture({ page: 'help' }, 100, 30));
    assert.match(picture({ typing: 'packetl' }, 80, 24), /^ events with: packetl▏$/m);
    const filtered = picture({ filter: 'packetloss web' }, 160, 40);
    assert.match(filtered, /EVENTS with packetloss web\n \S+ PACKETLOSS pod=web/);
    assert.doesNotMatch(filtered, /socket\.slow/);
  });

  it('fit into any terminal', () => {
    for (const width of [1, 7, 20, 39, 79, 119, 300]) {
      for (const height of [3, 5, 9, 23, 60]) {
        for (const ui of [{}, { page: 'help' }, { page: 'pod', open: 'pod/uid-web' }] as const) {
          const { view, clock } = troubledNode();
          const all: Ui = { ...firstUi, ...ui };
          const pod = all.open === undefined ? undefined : takePod(view, all.open, {});
          const lines = frame(takeData(view, clock.nowMs(), {}), pod, all, width, height);
          assert.equal(lines.length, height);
          for (const line of lines) {
            const row = renderLine(line, width, false).replace(/\u001b\[[\d;]*m/g, '');
            assert.ok(row.length <= width, `${width}x${height}: ${row}`);
          }
        }
      }
    }
  });

  it('let no control character through, whatever is called what', () => {
    const evil = { pod: 'web\u001b]0;owned\u0007\u009b2J\r\n', reason: 'R\u001b[31m\u202eX' };
    const texts = [
      picture({}, 200, 40, evil),
      picture({ page: 'pod', open: 'pod/uid-web' }, 200, 40, evil),
      picture({ typing: '\u001b[2J', filter: '\u0007' }, 200, 40, evil),
    ];
    const { view, clock } = troubledNode(evil);
    const data = takeData(view, clock.nowMs(), {});
    texts.push(tableText(data, 20), jsonText(data));
    for (const text of texts) assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    assert.equal(JSON.parse(jsonText(data)).pods[0].name, evil.pod, 'JSON escapes, and loses nothing');
  });
});

describe('keys', () => {
  const { view, clock } = troubledNode();
  const { pods } = takeData(view, clock.nowMs(), {});
  const after = (...keys: readonly string[]): Ui | 'quit' => {
    let ui: Ui | 'quit' = firstUi;
    for (const key of keys) {
      if (ui === 'quit') break;
      const isName = key.length > 1;
      ui = press(ui, isName ? { name: key } : { name: key.toLowerCase(), text: key }, rowsOf(pods, ui));
    }
    return ui;
  };
  const got = (...keys: readonly string[]) => after(...keys) as Ui;

  it('select, open and go back', () => {
    assert.deepEqual(
      [got('return').page, got('return').open],
      ['pod', 'pod/uid-web'],
      'the first row, though nobody selected it',
    );
    assert.equal(got('down', 'return').open, 'pod/uid-cart');
    assert.equal(got('j', 'j', 'j', 'j', 'return').open, 'node', 'the end is the end, and the node has a page too');
    assert.equal(got('j', 'k', 'return').open, 'pod/uid-web');
    assert.equal(got('G').selected, 'node');
    assert.equal(got('G', 'g').selected, undefined);
    assert.equal(got('return', 'escape').page, 'list');
    assert.equal(got('return', 'j', 'j').scroll, 2);
    assert.equal(got('return', '?', '?').page, 'pod', 'help goes back to where it came from');
    assert.equal(got('a', 'j', 'j').selected, 'netns/4026532401');
  });

  it('filter, sort, pause and quit', () => {
    assert.deepEqual([got('/', 'q', '?', ' ', 'x', 'return').filter, got('/', 'a', 'escape').filter], ['q? x', '']);
    assert.equal(got('/', 'a', 'b', 'backspace', 'return').filter, 'a');
    assert.equal(got('/', 'a', 'return', 'escape').filter, '');
    assert.equal(got('s').sort, 1);
    assert.equal(got('s', 'S').sort, 0);
    assert.deepEqual([got('p').paused, got('p', ' ').paused], [true, false]);
    assert.equal(after('q'), 'quit');
    assert.equal(press({ ...firstUi, typing: 'x' }, { name: 'c', ctrl: true, text: '\u0003' }, []), 'quit');
    assert.deepEqual(press({ ...firstUi, typing: 'x' }, { name: 'up', text: '\u001b[A' }, []), {
      ...firstUi,
      typing: 'x',
    });
  });
});

describe('text', () => {
  it('has colours only where they are wanted', () => {
    const line = (['bold', 'dim', 'bad', 'warn', 'good', 'bar', 'selected'] as const).map((style) => ({
      text: style,
      style,
    }));
    assert.doesNotMatch(renderLine(line, 80, false), /\u001b\[[\d;]*3\d/);
    assert.match(renderLine(line, 80, true), /\u001b\[1;31mbad/);
    assert.equal(renderLine([{ text: 'abcdef', style: 'bold' }], 3, true), '\u001b[1mabc\u001b[0m');
  });

  it('numbers stay short', () => {
    const numbers = [undefined, 0, 0.01, 0.5, 7, 9.97, 23, 1234, 9999, 10_000, 123_456, 999_999, 1.2e9, 3e15];
    assert.deepEqual(numbers.map(number), [
      '-',
      '0',
      '<0.1',
      '0.5',
      '7',
      '10',
      '23',
      '1234',
      '9999',
      '10k',
      '123k',
      '1.0M',
      '1.2G',
      '3e+15',
    ]);
    assert.deepEqual([2e-9, 0.0000123, 0.0012, 0.34, 2.5, 64].map(seconds), [
      '2ns',
      '12µs',
      '1.2ms',
      '340ms',
      '2.5s',
      '64s',
    ]);
    assert.equal(sparkline([0, 1, 4, 8], 3), '▁▄█');
    assert.equal(sparkline([0, 0], 5), '  ');
    assert.deepEqual([fit('abcdef', 4), fit('ab', 4, 'right'), fit('ab', 0)], ['abc…', '  ab', '']);
    assert.equal(clean('é\u0301日本\u00ad\t'), 'é?????');
  });
});

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString();
    callback();
  }
}

class FakeTty implements Tty {
  width = 100;
  height = 30;
  colour = false;
  isBusy = false;
  written: string[] = [];
  on: TtyEvents | undefined;
  take(on: TtyEvents) {
    this.on = on;
  }
  write(text: string) {
    this.written.push(text);
  }
  giveBack() {
    this.on = undefined;
  }
}

function setup(input: Record<string, unknown>, tty?: FakeTty) {
  const context = testContext();
  const out = new Sink();
  const interrupts: string[] = [];
  const doors = { out, tty, interrupt: () => interrupts.push('interrupt') };
  const exporter = new TerminalExporter(config.parse(input), context, doors);
  const collect = async (n: number) => {
    const points = [{ metric: 'skoop.tcp.retrans_segs', value: n } as const];
    await exporter.push(metricsBatch('procfs/tcp', [snapshot(context.clock.nowMs(), 1, podResource('web'), points)]));
    context.clock.advance(2000);
  };
  return { exporter, context, out, interrupts, collect };
}

describe('the exporter', () => {
  it('prints a table an interval, the first when there are rates', async () => {
    const { exporter, out, collect } = setup({});
    await exporter.start();
    await collect(0);
    assert.equal(out.text, '');
    await collect(46);
    assert.match(out.text, /shop\/web +- +- +46 /);
    await collect(92);
    assert.equal(out.text.match(/TROUBLE/g)?.length, 2);
    await exporter.stop();
    await collect(100);
    assert.equal(out.text.match(/TROUBLE/g)?.length, 2);
  });

  it('asks to stop after so many tables', async () => {
    const { exporter, out, collect, interrupts } = setup({ count: 2, format: 'json' });
    await exporter.start();
    for (let i = 0; i < 6; i++) await collect(23 * i);
    const lines = out.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map((l) => l.pods[0].rates.retransmits),
      [11.5, 11.5],
    );
    await turn();
    assert.deepEqual(interrupts, ['interrupt']);
    await exporter.stop();
  });

  it('draws what changed, holds still in a pause, and draws all when the size changes', async () => {
    const tty = new FakeTty();
    const { exporter, context, collect, interrupts } = setup({}, tty);
    await exporter.start();
    await collect(0);
    await collect(46);
    assert.equal(
      tty.written.filter((w) => w.startsWith('\u001b[?2026h')).length,
      tty.written.length,
      'one write a picture',
    );
    assert.match(tty.written.join(''), /shop\/web/);
    tty.written = [];
    context.clock.advance(500);
    assert.ok(
      tty.written.every((w) => w.split('\u001b[K').length <= 3),
      'the clock and no more',
    );
    tty.on!.key({ name: 'p', text: 'p' });
    tty.written = [];
    await collect(92);
    assert.deepEqual(tty.written, [], 'a picture that is paused is not drawn again');
    tty.width = 70;
    tty.on!.redraw();
    assert.equal(tty.written.join('').split('\u001b[K').length - 1, 30);
    tty.isBusy = true;
    tty.written = [];
    tty.on!.key({ name: 'p', text: 'p' });
    assert.deepEqual(tty.written, [], 'a terminal that does not keep up misses pictures');
    tty.on!.key({ name: 'q', text: 'q' });
    assert.deepEqual(interrupts, ['interrupt']);
    await exporter.stop();
    assert.equal(tty.on, undefined);
    assert.equal(context.clock.pending, 0);
  });

  it('ends when nobody reads, and refuses a screen where there is none', async () => {
    const { exporter, out, interrupts, context } = setup({});
    await exporter.start();
    out.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    assert.deepEqual([interrupts.length, context.telemetry.failures.length], [1, 1]);
    await exporter.stop();
    await assert.rejects(setup({ mode: 'screen' }).exporter.start(), /no terminal/);
  });
});
