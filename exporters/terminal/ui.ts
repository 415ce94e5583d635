import type { PodSummary } from '../../view/types.ts';
import { sorts } from './columns.ts';

/** What the user did so far. */
export interface Ui {
  readonly page: 'list' | 'pod' | 'help';
  /** Row that is selected, by key; undefined = the first, whichever that is. */
  readonly selected: string | undefined;
  /** Pod whose page is open. */
  readonly open: string | undefined;
  /** Index in {@link sorts}. */
  readonly sort: number;
  /** Namespaces of no pod too. */
  readonly all: boolean;
  /** Words that events must hold. */
  readonly filter: string;
  /** The filter while it is typed. */
  readonly typing: string | undefined;
  readonly paused: boolean;
  /** First row of the pod's page that is shown. */
  readonly scroll: number;
}

export const firstUi: Ui = {
  page: 'list',
  selected: undefined,
  open: undefined,
  sort: 0,
  all: false,
  filter: '',
  typing: undefined,
  paused: false,
  scroll: 0,
};

/** A key: its name as `node:readline` gives it, and the character typed. */
export interface Key {
  readonly name?: string | undefined;
  readonly ctrl?: boolean;
  readonly text?: string | undefined;
}

const filterLength = 200;

/** What a key does. `rows` are the pods as they are shown. @returns `quit` to end. */
export function press(ui: Ui, key: Key, rows: readonly PodSummary[]): Ui | 'quit' {
  if (key.ctrl && (key.name === 'c' || key.name === 'd')) return 'quit';
  if (ui.typing !== undefined) return type(ui, ui.typing, key);
  if (key.text === '?' || key.name === 'f1') return { ...ui, page: ui.page === 'help' ? back(ui) : 'help' };
  switch (key.text) {
    case '/':
      return { ...ui, typing: ui.filter };
    case 'p':
    case ' ':
      return { ...ui, paused: !ui.paused };
    case 'q':
      return 'quit';
  }
  if (key.name === 'escape' || key.name === 'backspace' || key.name === 'left' || key.name === 'h') return goBack(ui);
  if (ui.page === 'pod') return scroll(ui, key);
  return ui.page === 'list' ? list(ui, key, rows) : ui;
}

const back = (ui: Ui) => (ui.open === undefined ? 'list' : 'pod');

/** Out of help, out of a pod's page, or the filter away. */
function goBack(ui: Ui): Ui {
  if (ui.page === 'help') return { ...ui, page: back(ui) };
  if (ui.page === 'pod') return { ...ui, page: 'list', open: undefined, scroll: 0 };
  return { ...ui, filter: '' };
}

function type(ui: Ui, typing: string, { name, text = '' }: Key): Ui {
  if (name === 'return' || name === 'enter') return { ...ui, typing: undefined, filter: typing.trim() };
  if (name === 'escape') return { ...ui, typing: undefined };
  if (name === 'backspace') return { ...ui, typing: typing.slice(0, -1) };
  // Keys that send escape sequences are no text.
  if (text === '' || /[\x00-\x1f\x7f]/.test(text)) return ui;
  return { ...ui, typing: (typing + text).slice(0, filterLength) };
}

const steps: Readonly<Record<string, number>> = { up: -1, k: -1, down: 1, j: 1, pageup: -10, pagedown: 10 };

function list(ui: Ui, key: Key, rows: readonly PodSummary[]): Ui {
  const at = Math.max(
    0,
    rows.findIndex((r) => r.key === ui.selected),
  );
  const to = (row: number): Ui => ({ ...ui, selected: rows[Math.min(Math.max(row, 0), rows.length - 1)]?.key });
  if (key.text === 's') return { ...ui, sort: (ui.sort + 1) % sorts.length };
  if (key.text === 'a') return { ...ui, all: !ui.all };
  if (key.text === 'S') return { ...ui, sort: (ui.sort + sorts.length - 1) % sorts.length };
  if (key.text === 'G' || key.name === 'end') return to(rows.length - 1);
  if (key.name === 'g' || key.name === 'home') return { ...ui, selected: undefined };
  if (key.name === 'return' || key.name === 'enter' || key.name === 'right' || key.name === 'l') {
    const open = rows[at]?.key;
    return open === undefined ? ui : { ...ui, page: 'pod', open, scroll: 0 };
  }
  const step = steps[key.name ?? ''];
  return step === undefined ? ui : to(at + step);
}

function scroll(ui: Ui, key: Key): Ui {
  if (key.name === 'g' || key.name === 'home') return { ...ui, scroll: 0 };
  const step = steps[key.name ?? ''];
  return step === undefined ? ui : { ...ui, scroll: Math.max(0, ui.scroll + step) };
}
