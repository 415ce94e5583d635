import { writeSync } from 'node:fs';
import { emitKeypressEvents } from 'node:readline';
import type { Key } from './ui.ts';

/** A terminal that is taken over whole and given back as it was. */
export interface Tty {
  readonly width: number;
  readonly height: number;
  readonly colour: boolean;
  /** True while the terminal does not keep up. */
  readonly isBusy: boolean;
  take(on: TtyEvents): void;
  write(text: string): void;
  /** Gives the terminal back. Safe before `take` and twice. */
  giveBack(): void;
}

export interface TtyEvents {
  key(key: Key): void;
  /** The size changed, or the picture may be gone. */
  redraw(): void;
  /** Nobody is there any more. */
  gone(): void;
}

const csi = '\u001b[';
// Alternate screen, no cursor, no wrapping: a row that is too long by a hair must not push the others.
const enter = `${csi}?1049h${csi}?25l${csi}?7l${csi}2J`;
const leave = `${csi}0m${csi}?7h${csi}?25h${csi}?1049l`;

/** The terminal of this process. */
export class ProcessTty implements Tty {
  readonly #in = process.stdin;
  readonly #out = process.stdout;
  #on: TtyEvents | undefined;
  /** Suspended: the terminal is the shell's, and what is drawn goes nowhere. */
  #isAway = false;

  get width(): number {
    return this.#out.columns || 80;
  }
  get height(): number {
    return this.#out.rows || 24;
  }
  /** https://no-color.org; terminals that know no colours say so by TERM or by their depth. */
  get colour(): boolean {
    return !process.env['NO_COLOR'] && this.#out.getColorDepth() > 1;
  }
  get isBusy(): boolean {
    return this.#out.writableNeedDrain;
  }

  take(on: TtyEvents): void {
    if (this.#on) return;
    this.#on = on;
    emitKeypressEvents(this.#in);
    this.#in.setRawMode(true);
    this.#in.on('keypress', this.#keypress).on('end', this.#gone).on('error', this.#gone);
    this.#out.on('resize', this.#redraw).on('error', this.#gone);
    this.#in.resume();
    process.on('SIGCONT', this.#continued);
    // Before all others: what they print on the way out is for the terminal as it was.
    process.prependListener('exit', this.#atExit);
    this.#out.write(enter);
  }

  write(text: string): void {
    if (this.#on && !this.#isAway) this.#out.write(text);
  }

  giveBack(): void {
    if (!this.#on) return;
    this.#on = undefined;
    this.#in.off('keypress', this.#keypress).off('end', this.#gone).off('error', this.#gone);
    this.#out.off('resize', this.#redraw).off('error', this.#gone);
    process.off('SIGCONT', this.#continued).off('exit', this.#atExit);
    this.#in.pause();
    this.#restore();
  }

  /** Synchronous: it may be the last thing this process does. */
  #restore(): void {
    try {
      if (this.#in.isRaw) this.#in.setRawMode(false);
      writeSync(this.#out.fd, leave);
    } catch {
      // The terminal is gone: there is nothing to restore.
    }
  }

  readonly #atExit = () => this.#restore();
  readonly #gone = () => this.#on?.gone();
  readonly #redraw = () => this.#on?.redraw();

  /** Ctrl-Z, as everywhere: the shell gets its terminal, and `fg` brings the picture back. */
  #suspend(): void {
    this.#isAway = true;
    this.#restore();
    process.kill(process.pid, 'SIGTSTP');
  }
  readonly #continued = () => {
    this.#isAway = false;
    this.#in.setRawMode(true);
    this.#out.write(enter);
    this.#on?.redraw();
  };

  readonly #keypress = (text: string | undefined, key: { name?: string; ctrl?: boolean } | undefined) => {
    if (key?.ctrl && key.name === 'z') return this.#suspend();
    this.#on?.key({ name: key?.name, ctrl: key?.ctrl ?? false, text });
  };
}
