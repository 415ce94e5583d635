import { sankey, sankeyLinkHorizontal } from 'd3-sankey';
import type { FlowRow, FlowsMessage } from '../messages.ts';
import { h, putNew, setText, svg } from './dom.ts';
import { byteRate, percent } from './format.ts';
import { type Column, DataTable } from './table.ts';
import { podHref, type Shell, type View } from './view.ts';

/** Bands and ends in the drawing; the rest is in the table. */
const maxLinks = 60;
const maxEnds = 24;
const size = { width: 1180, rowHeight: 28, margin: 230 };

const total = (f: FlowRow) => f.sentBytesPerSecond + f.receivedBytesPerSecond;

const columns: readonly Column<FlowRow>[] = [
  {
    title: 'Pod',
    name: 'name',
    text: ({ pod, key }) => `${pod} ${key}`,
    sort: ({ pod }) => pod,
    fill: (cell, { pod, key }) => cell.replaceChildren(h('a', { href: podHref(key) }, pod)),
  },
  { title: 'Namespace', name: 'namespace', text: ({ namespace }) => namespace, sort: ({ namespace }) => namespace },
  {
    title: 'Other end',
    name: 'name',
    text: ({ peer, peerName, peerKey }) => `${peerName} ${peerKey} ${peer}`,
    sort: ({ peer, peerName }) => peerName ?? peer,
    fill(cell, { peer, peerName, peerKey }) {
      const name = peerName ?? peer;
      cell.replaceChildren(
        peerKey === undefined ? name : h('a', { href: podHref(peerKey) }, name),
        ...(peerName === undefined ? [] : [h('small', {}, ` ${peer}`)]),
      );
    },
  },
  { title: 'Protocol', text: ({ transport }) => transport.toUpperCase(), sort: ({ transport }) => transport },
  {
    title: 'Sent',
    numeric: true,
    text: ({ sentBytesPerSecond: n }) => byteRate(n),
    sort: ({ sentBytesPerSecond: n }) => n,
  },
  {
    title: 'Received',
    numeric: true,
    text: ({ receivedBytesPerSecond: n }) => byteRate(n),
    sort: ({ receivedBytesPerSecond: n }) => n,
  },
];

/** Who talks to whom. */
export function flowsView({ root }: Shell): View {
  const note = h('div', { class: 'note', hidden: true });
  const input = h('input', {
    type: 'search',
    placeholder: 'pod, namespace or address',
    'aria-label': 'Filter flows',
    spellcheck: 'false',
  });
  const tools = h('div', { class: 'tools' }, input);
  const drawing = h('figure', { class: 'sankey' });
  const table = new DataTable<FlowRow>({
    caption: 'Flows by bytes per second',
    columns,
    key: (f) => `${f.key} ${f.peer} ${f.transport}`,
  });
  const scroll = h('div', { class: 'scroll' }, table.element);
  const rest = h('p', { class: 'quiet' });
  root.append(note, tools, drawing, scroll, rest);
  let last: FlowsMessage | undefined;
  const draw = () => {
    if (!last) return;
    const { observed, flows, rest: more } = last;
    note.hidden = observed && flows.length > 0;
    for (const part of [tools, drawing, scroll]) part.hidden = !observed || flows.length === 0;
    if (!observed) putNew(note, 'off', howToSwitchOn);
    else putNew(note, 'none', () => [h('p', {}, 'Flows are watched; nothing flows at this moment.')]);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = flows.filter((f) =>
      words.every((w) =>
        `${f.namespace}/${f.pod} ${f.peerName ?? ''} ${f.peer} ${f.transport}`.toLowerCase().includes(w),
      ),
    );
    putNew(drawing, JSON.stringify(rows), () => figure(rows));
    table.update(rows);
    setText(
      rest,
      more.flows > 0 ? `${more.flows} smaller flows are not listed: ${byteRate(more.bytesPerSecond)} together.` : '',
    );
  };
  input.addEventListener('input', draw);
  return {
    title: 'Flows',
    topic: () => 'flows',
    update(message) {
      last = message as FlowsMessage;
      draw();
    },
  };
}

function howToSwitchOn() {
  return [
    h(
      'p',
      {},
      'Flows are not watched: who talks to whom is off by default, since it counts every packet. Switch it on in pipeline.yaml; the running agent takes it over.',
    ),
    h('pre', {}, 'receivers:\n  ebpf:\n    probes:\n      flow:\n        enabled: true'),
  ];
}

/** The drawing, and how much of it all it shows. */
function figure(all: readonly FlowRow[]): Node[] {
  const rows = onceEach(all);
  const gathered = gather(rows);
  if (gathered.bands.length === 0) return [];
  const sum = rows.reduce((n, f) => n + total(f), 0);
  const drawn = gathered.bands.reduce((n, b) => n + b.value, 0);
  const share =
    drawn < sum * 0.999 ? `The largest pairs: ${percent(drawn / sum)} of ${byteRate(sum)}` : `${byteRate(sum)} in all`;
  return [h('figcaption', {}, share), drawSankey(gathered)];
}

/** What goes between two pods of this node is counted at both: drawn once, from who sends more. */
function onceEach(flows: readonly FlowRow[]): FlowRow[] {
  const keys = new Set(flows.map((f) => f.key));
  const isMirrored = ({ key, peerKey, sentBytesPerSecond: sent, receivedBytesPerSecond: received }: FlowRow) =>
    peerKey !== undefined && keys.has(peerKey) && (sent < received || (sent === received && key > peerKey));
  return flows.filter((f) => !isMirrored(f));
}

interface End {
  readonly id: string;
  readonly label: string;
  readonly href: string | undefined;
}
interface Band {
  readonly source: string;
  readonly target: string;
  value: number;
}

/** Pods on the left, the other ends on the right, a band for what goes between them. */
function drawSankey({ ends, bands }: { ends: End[]; bands: Band[] }): SVGSVGElement {
  const rows = Math.max(
    ends.filter((e) => e.id.startsWith('pod')).length,
    ends.filter((e) => e.id.startsWith('peer')).length,
  );
  const height = Math.max(90, rows * size.rowHeight);
  const layout = sankey<End, Band>()
    .nodeId((end) => end.id)
    .nodeWidth(10)
    .nodePadding(15)
    .nodeSort((a, b) => (b.value ?? 0) - (a.value ?? 0))
    .extent([
      [size.margin, 10],
      [size.width - size.margin, height - 10],
    ]);
  const { nodes, links } = layout({ nodes: ends.map((e) => ({ ...e })), links: bands.map((b) => ({ ...b })) });
  const path = sankeyLinkHorizontal<End, Band>();
  const name = (end: unknown) => (end as End).label;
  return svg(
    'svg',
    {
      viewBox: `0 0 ${size.width} ${height}`,
      role: 'img',
      'aria-label': 'Bytes per second between pods and their other ends; the table below has the same',
    },
    svg(
      'g',
      { class: 'bands' },
      ...links.map((link) =>
        svg(
          'path',
          { d: path(link) ?? '', 'stroke-width': Math.max(1, link.width ?? 1) },
          svg('title', {}, `${name(link.source)} – ${name(link.target)}: ${byteRate(link.value)}`),
        ),
      ),
    ),
    ...nodes.map((node) => {
      const isLeft = node.id.startsWith('pod');
      const [x0, x1, y0, y1] = [node.x0 ?? 0, node.x1 ?? 0, node.y0 ?? 0, node.y1 ?? 0];
      const text = svg(
        'text',
        {
          x: isLeft ? x0 - 8 : x1 + 8,
          y: (y0 + y1) / 2,
          'text-anchor': isLeft ? 'end' : 'start',
          'dominant-baseline': 'middle',
        },
        shorten(node.label),
        svg('tspan', { class: 'rate', dx: 6 }, byteRate(node.value ?? 0)),
        svg('title', {}, node.label),
      );
      const bar = svg('rect', { x: x0, y: y0, width: x1 - x0, height: Math.max(1, y1 - y0) });
      return node.href === undefined ? svg('g', {}, bar, text) : svg('a', { href: node.href }, bar, text);
    }),
  );
}

/** The largest bands between the largest ends: what is drawn. */
function gather(flows: readonly FlowRow[]): { ends: End[]; bands: Band[] } {
  const pods = largest(flows, (f) => f.key);
  const peers = largest(flows, (f) => f.peer);
  const ends = new Map<string, End>();
  const bands = new Map<string, Band>();
  for (const f of flows) {
    const value = total(f);
    if (value <= 0 || !pods.has(f.key) || !peers.has(f.peer)) continue;
    const source = `pod ${f.key}`;
    const target = `peer ${f.peer}`;
    const band = bands.get(`${source} ${target}`);
    if (band) {
      band.value += value;
      continue;
    }
    if (bands.size === maxLinks) continue;
    bands.set(`${source} ${target}`, { source, target, value });
    ends.set(source, { id: source, label: f.pod, href: podHref(f.key) });
    const href = f.peerKey === undefined ? undefined : podHref(f.peerKey);
    ends.set(target, { id: target, label: f.peerName ?? f.peer, href });
  }
  return { ends: [...ends.values()], bands: [...bands.values()] };
}

function largest(flows: readonly FlowRow[], of: (flow: FlowRow) => string): Set<string> {
  const sums = new Map<string, number>();
  for (const f of flows) sums.set(of(f), (sums.get(of(f)) ?? 0) + total(f));
  const ordered = [...sums].sort((a, b) => b[1] - a[1]).map(([key]) => key);
  return new Set(ordered.slice(0, maxEnds));
}

function shorten(text: string): string {
  return text.length > 26 ? `${text.slice(0, 12)}…${text.slice(-13)}` : text;
}
