import type { EventRow, EventsMessage } from '../messages.ts';
import { h, setText } from './dom.ts';
import { clock } from './format.ts';
import { podHref, type Shell, type View } from './view.ts';

/** Rows of the list; older ones leave it. */
const maxRows = 500;
const fields = ['type', 'namespace', 'pod', 'text'] as const;
const hints = { type: 'type, or part of it', namespace: 'namespace', pod: 'pod', text: 'text anywhere in the event' };
/** Time without typing before the filter is sent. */
const settleMs = 250;

const flowKeys = ['source.address', 'source.port', 'destination.address', 'destination.port'];
/** Said elsewhere in the row. */
const placed = new Set([...flowKeys, 'kubeskoop.type', 'network.transport', 'network.type', 'skoop.stack']);
/** The most telling first. */
const telling = [
  'skoop.drop.reason',
  'skoop.reset.reason',
  'error.type',
  'skoop.retransmit.kind',
  'skoop.latency',
  'skoop.drop.location',
  'skoop.netfilter.hook',
  'skoop.netfilter.chain',
  'skoop.tcp.state',
  'skoop.tcp.flags',
  'process.executable.name',
];

/** Events as they happen, newest first. */
export function eventsView({ root, query, reopen }: Shell): View {
  const inputs = fields.map((name) =>
    h('input', {
      type: 'search',
      name,
      placeholder: hints[name],
      'aria-label': `Filter by ${hints[name]}`,
      value: query.get(name) ?? '',
      spellcheck: 'false',
      ...(name === 'type' ? { list: 'types' } : {}),
    }),
  );
  const types = h('datalist', { id: 'types' });
  const pause = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause');
  const status = h('span', { class: 'quiet', role: 'status' });
  const body = h('tbody');
  const empty = h('p', { class: 'note' }, 'Nothing yet. What happens shows up here by itself.');
  const filter = h('form', { class: 'tools' }, ...inputs, types, pause, status);
  root.append(
    filter,
    h(
      'div',
      { class: 'scroll' },
      h('table', { class: 'events' }, h('caption', { class: 'unseen' }, 'Events, newest first'), eventHead(), body),
    ),
    empty,
  );

  let waiting: EventRow[] = [];
  let isPaused = false;
  let hasGap = false;
  const add = (rows: readonly EventRow[]) => {
    body.prepend(...rows.map((row) => eventElement(row)));
    while (body.childElementCount > maxRows) body.lastElementChild!.remove();
    empty.hidden = body.childElementCount > 0;
    tell();
  };
  const tell = () => {
    const held = isPaused ? `${waiting.length} waiting, ` : '';
    const gap = hasGap ? ', some left out: more came than can be shown' : '';
    setText(status, `${held}${body.childElementCount} shown${gap}`);
  };
  pause.addEventListener('click', () => {
    isPaused = !isPaused;
    pause.setAttribute('aria-pressed', String(isPaused));
    setText(pause, isPaused ? 'Go on' : 'Pause');
    if (!isPaused) add(waiting.splice(0));
    tell();
  });
  filter.addEventListener('submit', (event) => event.preventDefault());
  let settle: ReturnType<typeof setTimeout> | undefined;
  filter.addEventListener('input', () => {
    clearTimeout(settle);
    settle = setTimeout(apply, settleMs);
  });
  const values = () => {
    const next = new URLSearchParams();
    for (const input of inputs) if (input.value.trim()) next.set(input.name, input.value.trim());
    return next;
  };
  const apply = () => {
    clear();
    reopen(values());
  };
  const clear = () => {
    body.replaceChildren();
    waiting = [];
    hasGap = false;
    empty.hidden = false;
  };
  return {
    title: 'Events',
    topic: () => `events?${values()}`,
    update(message) {
      const { events, more, types: seen, isFirst } = message as EventsMessage;
      // A stream that came back begins with what there is: most of it is shown already.
      if (isFirst) clear();
      if (seen.join() !== types.dataset['seen']) {
        types.dataset['seen'] = seen.join();
        types.replaceChildren(...seen.map((value) => h('option', { value })));
      }
      hasGap ||= more;
      if (isPaused) waiting = [...events, ...waiting].slice(0, maxRows);
      else add(events);
      tell();
    },
    close: () => clearTimeout(settle),
  };
}

export function eventHead(withPod = true): HTMLElement {
  const titles = ['Time', 'Type', ...(withPod ? ['Pod', 'Namespace'] : []), 'From → to', 'What'];
  return h('thead', {}, h('tr', {}, ...titles.map((t) => h('th', { scope: 'col' }, t))));
}

/** A row that opens to everything the event holds. */
export function eventElement(event: EventRow, withPod = true): HTMLTableRowElement {
  const { attributes: a } = event;
  const stack = a['skoop.stack'];
  const details = h('details', {}, h('summary', {}, ...what(event)));
  // Filled when it is opened: most never are.
  details.addEventListener(
    'toggle',
    () => {
      const all = Object.entries(a).filter(([k]) => k !== 'skoop.stack');
      details.append(
        h('p', {}, event.body),
        h('dl', { class: 'facts' }, ...all.flatMap(([k, v]) => [h('dt', {}, k), h('dd', {}, v)])),
        ...(stack === undefined ? [] : [h('pre', {}, stack.split(/[\s;]+/).join('\n'))]),
      );
    },
    { once: true },
  );
  return h(
    'tr',
    { 'data-severity': event.severity },
    h('td', { class: 'time', title: new Date(event.timeMs).toString() }, clock(event.timeMs)),
    h('td', { class: 'type' }, event.type),
    ...(withPod
      ? [
          h('td', { class: 'name' }, h('a', { href: podHref(event.key) }, event.pod)),
          h('td', { class: 'namespace' }, event.namespace),
        ]
      : []),
    h('td', { class: 'flow' }, flow(a)),
    h('th', { scope: 'row', class: 'what' }, details),
  );
}

function flow(a: EventRow['attributes']): string {
  const end = (side: 'source' | 'destination') => {
    const address = a[`${side}.address`];
    if (address === undefined) return '';
    const port = a[`${side}.port`];
    const host = address.includes(':') && port !== undefined ? `[${address}]` : address;
    return port === undefined ? host : `${host}:${port}`;
  };
  const [from, to] = [end('source'), end('destination')];
  const protocol = a['network.transport']?.toUpperCase() ?? '';
  return from || to ? `${protocol} ${from} → ${to}`.trim() : '';
}

/** The event in a few words: its telling attributes, else its sentence. */
function what({ attributes: a, body }: EventRow): (string | Node)[] {
  const told = telling.filter((k) => a[k] !== undefined);
  const keys =
    told.length > 0
      ? told
      : Object.keys(a)
          .filter((k) => !placed.has(k))
          .slice(0, 4);
  // The spaces are where a line may break.
  return keys.length > 0 ? keys.flatMap((k) => [pair(k, a[k]!), ' ']) : [body];
}

function pair(key: string, value: string): Node {
  const short = key.slice(key.lastIndexOf('.') + 1);
  return h('span', { class: 'pair', title: key }, h('span', {}, `${short} `), value);
}
