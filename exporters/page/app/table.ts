import { h, setText } from './dom.ts';

/** One column of a table of `Row`s. */
export interface Column<Row> {
  readonly title: string;
  /** Explains the column. */
  readonly hint?: string;
  readonly numeric?: boolean;
  /** Marks the cell for the style sheet. */
  readonly name?: string;
  readonly text: (row: Row) => string;
  /** Sorted by, largest first for numbers; absent = the column does not sort. */
  readonly sort?: (row: Row) => number | string;
  /** Makes more of the cell than its text; called when the text changes. */
  readonly fill?: (cell: HTMLTableCellElement, row: Row) => void;
  readonly tone?: (row: Row) => 'bad' | 'warn' | 'quiet' | undefined;
}

interface Shown {
  readonly element: HTMLTableRowElement;
  readonly cells: readonly HTMLTableCellElement[];
}

/** A table whose rows keep their elements while their key lives: focus and selection survive an update. */
export class DataTable<Row> {
  readonly element: HTMLTableElement;
  readonly #body = h('tbody');
  readonly #headers: HTMLTableCellElement[] = [];
  readonly #columns: readonly Column<Row>[];
  readonly #key: (row: Row) => string;
  readonly #shown = new Map<string, Shown>();
  #rows: readonly Row[] = [];
  #sorted: { column: number; down: boolean } | undefined;

  constructor(options: {
    readonly caption: string;
    readonly columns: readonly Column<Row>[];
    readonly key: (row: Row) => string;
  }) {
    this.#columns = options.columns;
    this.#key = options.key;
    const head = h('tr');
    for (const [i, column] of options.columns.entries()) {
      const th = h('th', { scope: 'col', class: classOf(column), title: column.hint });
      if (column.sort) th.append(h('button', { type: 'button', click: () => this.#sortBy(i) }, column.title));
      else th.append(column.title);
      this.#headers.push(th);
      head.append(th);
    }
    this.element = h('table', {}, h('caption', { class: 'unseen' }, options.caption), h('thead', {}, head), this.#body);
  }

  /** Shows these rows, in this order unless a header was clicked. */
  update(rows: readonly Row[]): void {
    this.#rows = rows;
    const order = this.#ordered();
    const keys = new Set<string>();
    let at: ChildNode | null = this.#body.firstChild;
    for (const row of order) {
      const key = this.#key(row);
      keys.add(key);
      const shown = this.#shown.get(key) ?? this.#make(key);
      for (const [i, column] of this.#columns.entries()) fill(shown.cells[i]!, column, row);
      if (shown.element === at) at = at.nextSibling;
      else this.#body.insertBefore(shown.element, at);
    }
    for (const [key, { element }] of this.#shown) {
      if (keys.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
  }

  #make(key: string): Shown {
    const cells = this.#columns.map((column, i) =>
      i === 0 ? h('th', { scope: 'row', class: classOf(column) }) : h('td', { class: classOf(column) }),
    );
    const shown = { element: h('tr', {}, ...cells), cells };
    this.#shown.set(key, shown);
    return shown;
  }

  #sortBy(column: number): void {
    const down = this.#sorted?.column === column ? !this.#sorted.down : this.#columns[column]!.numeric === true;
    this.#sorted = { column, down };
    this.#headers.forEach((th, i) => {
      if (i === column) th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else th.removeAttribute('aria-sort');
    });
    this.update(this.#rows);
  }

  #ordered(): readonly Row[] {
    const by = this.#sorted && this.#columns[this.#sorted.column]?.sort;
    if (!by) return this.#rows;
    const sign = this.#sorted?.down ? -1 : 1;
    return this.#rows.toSorted((a, b) => {
      const [x, y] = [by(a), by(b)];
      return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y)));
    });
  }
}

function classOf<Row>({ numeric, name }: Column<Row>): string | undefined {
  return [numeric ? 'number' : '', name ?? ''].filter(Boolean).join(' ') || undefined;
}

function fill<Row>(cell: HTMLTableCellElement, column: Column<Row>, row: Row): void {
  const text = column.text(row);
  const tone = column.tone?.(row) ?? '';
  if ((cell.dataset['tone'] ?? '') !== tone) cell.dataset['tone'] = tone;
  if (column.fill) {
    if (cell.dataset['basis'] === text) return;
    cell.dataset['basis'] = text;
    column.fill(cell, row);
  } else {
    setText(cell, text);
  }
}
