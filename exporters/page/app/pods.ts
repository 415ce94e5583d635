import type { PodRow, PodsMessage } from '../messages.ts';
import { h, put, setText } from './dom.ts';
import { byteRate, count, happened, span } from './format.ts';
import { drawStrip } from './strip.ts';
import { type Column, DataTable } from './table.ts';
import { podHref, type Shell, type View } from './view.ts';

type Quantity = keyof PodRow['recent'];

/** Score at which the bar of trouble is full: some thousand drops, or a few things at once. */
const fullScore = 60;

/** Occurrences within the window; what was not observed is no zero. */
function recentColumn(title: string, quantity: Quantity, hint: string): Column<PodRow> {
  return {
    title,
    hint,
    numeric: true,
    text: ({ recent }) => (recent[quantity] === undefined ? '–' : count(recent[quantity])),
    sort: ({ recent }) => recent[quantity] ?? -1,
    tone: ({ recent }) => ((recent[quantity] ?? 0) > 0 ? 'bad' : 'quiet'),
  };
}

function rateColumn(title: string, quantity: Quantity, hint: string): Column<PodRow> {
  return {
    title,
    hint,
    numeric: true,
    text: ({ rates }) => (rates[quantity] === undefined ? '–' : byteRate(rates[quantity])),
    sort: ({ rates }) => rates[quantity] ?? -1,
    tone: ({ rates }) => ((rates[quantity] ?? 0) > 0 ? undefined : 'quiet'),
  };
}

const columns: readonly Column<PodRow>[] = [
  {
    title: 'Pod',
    name: 'name',
    text: ({ name, key, state, hostNetwork }) => `${name} ${key} ${state} ${hostNetwork}`,
    sort: ({ name }) => name,
    fill(cell, { name, key, kind, state, hostNetwork }) {
      const notes = [
        kind === 'pod' ? '' : kind,
        state === 'notready' ? 'not ready' : '',
        hostNetwork ? 'host network' : '',
      ];
      const note = notes.filter(Boolean).join(', ');
      put(cell, h('a', { href: podHref(key) }, name), note && h('small', {}, ` ${note}`));
    },
  },
  { title: 'Namespace', name: 'namespace', text: ({ namespace }) => namespace, sort: ({ namespace }) => namespace },
  {
    title: 'Trouble',
    name: 'trouble',
    numeric: false,
    hint: 'What adds most to the score. The score is the sum over all kinds of trouble of weight × log2(1 + occurrences).',
    text: ({ trouble, worst }) => `${trouble} ${worst?.count} ${worst?.label} ${worst?.reason}`,
    sort: ({ trouble }) => -trouble,
    fill(cell, { trouble, worst }) {
      const meter = h('span', { class: 'meter', title: `score ${trouble}` }, h('i'));
      meter.style.setProperty('--fill', String(Math.min(1, trouble / fullScore)));
      put(
        cell,
        ...(worst
          ? [meter, ` ${happened(worst.count, worst.label)}`, worst.reason && h('small', {}, ` ${worst.reason}`)]
          : []),
      );
    },
  },
  recentColumn('Drops', 'drops', 'Packets the kernel dropped'),
  recentColumn('Resets', 'resets', 'TCP resets, sent and received'),
  recentColumn('Retrans', 'retransmits', 'TCP segments sent again'),
  recentColumn('Connects failed', 'connectFailures', 'Connects that failed'),
  recentColumn('Accept full', 'acceptOverflows', 'Connections a full accept queue refused'),
  recentColumn('UDP full', 'udpOverflows', 'Datagrams a full socket lost'),
  recentColumn('DNS', 'dnsFailures', 'DNS queries that failed'),
  recentColumn('Slow', 'slow', 'Events about something slower than its threshold'),
  rateColumn('In', 'rxBytes', 'Bytes received, last collection'),
  rateColumn('Out', 'txBytes', 'Bytes sent, last collection'),
];

/** The list of pods, most trouble first. */
export function podsView({ root, query }: Shell): View {
  const strip = h('dl', { class: 'strip' });
  const input = h('input', {
    type: 'search',
    placeholder: 'name or namespace',
    'aria-label': 'Filter pods',
    value: query.get('filter') ?? '',
    spellcheck: 'false',
  });
  const only = h('input', { type: 'checkbox', checked: query.has('trouble') });
  const shown = h('span', { class: 'quiet', role: 'status' });
  const table = new DataTable<PodRow>({ caption: 'Pods by trouble', columns, key: ({ key }) => key });
  const empty = h('p', { class: 'note', hidden: true });
  const caption = h('p', { class: 'quiet' });
  root.append(
    strip,
    h('div', { class: 'tools' }, input, h('label', {}, only, ' in trouble only'), shown),
    h('div', { class: 'scroll' }, table.element),
    empty,
    caption,
  );
  let last: PodsMessage | undefined;
  const draw = () => {
    if (!last) return;
    const { pods, windowMs, node } = last;
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const passes = ({ name, namespace, trouble }: PodRow) =>
      words.every((w) => `${namespace}/${name}`.toLowerCase().includes(w)) && (!only.checked || trouble > 0);
    const rows = pods.filter(passes);
    table.update(rows);
    setText(shown, rows.length === pods.length ? `${pods.length}` : `${rows.length} of ${pods.length}`);
    empty.hidden = rows.length > 0;
    setText(
      empty,
      pods.length === 0 ? 'No pod, container or network namespace has been seen yet.' : 'None passes the filter.',
    );
    setText(
      caption,
      `Counts are those of the last ${span(windowMs)}; – is not observed on this node.${node.untracked > 0 ? ` ${node.untracked} more are left out for want of room.` : ''}`,
    );
    strip.title = `The whole node, last ${span(windowMs)}`;
    drawStrip(strip, node, [
      ['pods', node.pods, false],
      ['in trouble', node.inTrouble, node.inTrouble > 0],
    ]);
  };
  const changed = () => {
    const next = new URLSearchParams();
    if (input.value) next.set('filter', input.value);
    if (only.checked) next.set('trouble', '');
    history.replaceState(null, '', `#/pods${next.size > 0 ? `?${next}` : ''}`);
    draw();
  };
  input.addEventListener('input', changed);
  only.addEventListener('change', changed);
  return {
    title: 'Pods',
    topic: () => 'pods',
    update(message) {
      last = message as PodsMessage;
      draw();
    },
  };
}
