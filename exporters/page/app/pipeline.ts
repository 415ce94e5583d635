import type { ItemCounts, ServiceDescription, ServiceNode } from '../../../pipeline/service-view.ts';
import type { PipelineMessage } from '../messages.ts';
import { h, putNew, setText, svg } from './dom.ts';
import { bytes, count, exact, percent } from './format.ts';
import { type Arrow, type Box, layOut } from './layout.ts';
import type { Shell, View } from './view.ts';

/** Rates are means over this long; a collection every 15 s would otherwise show as nothing, nothing, much, nothing. */
const meanOverMs = 30_000;

const nouns = { metrics: 'points', logs: 'records', entities: 'entities' } as const;

/** The running pipeline, drawn. */
export function pipelineView({ root }: Shell): View {
  const drawing = h('figure', { class: 'graph' });
  const caption = h('span');
  const details = h('section', { class: 'panel details', 'aria-live': 'off' });
  const legend = h('span', { class: 'legend' }, h('span', {}, 'metrics'), h('span', { class: 'logs' }, 'logs'));
  root.append(h('div', { class: 'scroll' }, drawing), h('p', { class: 'quiet' }, caption, legend), details);
  const readings: ServiceDescription[] = [];
  let shape = '';
  let parts: Map<string, NodeParts> = new Map();
  let ways: Map<string, WayParts> = new Map();
  let chosen: string | undefined;

  const choose = (key: string) => {
    chosen = key;
    for (const [k, { element }] of parts) element.setAttribute('aria-pressed', String(k === key));
    draw();
  };
  const draw = () => {
    const now = readings.at(-1);
    const before = readings[0];
    if (!now || !before) return;
    const elapsedS = (now.monotonicMs - before.monotonicMs) / 1000;
    setText(
      caption,
      elapsedS > 0
        ? `Items per second, mean over the last ${Math.round(elapsedS)} s. Choose a component for its counts.`
        : 'Counts since the start; rates follow.',
    );
    const rate = (counts: ItemCounts, old: ItemCounts | undefined) => rateOf(counts, old, elapsedS);
    const oldNodes = new Map(before.nodes.map((n) => [n.key, n]));
    const oldEdges = new Map(before.edges.map((e) => [wayKey(e), e]));
    for (const node of now.nodes) {
      const part = parts.get(node.key);
      const old = oldNodes.get(node.key);
      if (part)
        drawNode(
          part,
          node,
          rate(
            node.kind === 'exporter' ? node.received : node.sent,
            old && (node.kind === 'exporter' ? old.received : old.sent),
          ),
          elapsedS,
        );
    }
    for (const edge of now.edges) {
      const part = ways.get(wayKey(edge));
      if (part) drawWay(part, rate(edge.items, oldEdges.get(wayKey(edge))?.items), elapsedS);
    }
    const node = now.nodes.find((n) => n.key === chosen);
    if (node) drawDetails(details, node, oldNodes.get(node.key), elapsedS);
  };
  return {
    title: 'Pipeline',
    topic: () => 'pipeline',
    update(message) {
      const now = message as PipelineMessage;
      const nextShape = JSON.stringify([now.nodes.map((n) => [n.key, n.queue !== undefined]), now.edges.map(wayKey)]);
      const last = readings.at(-1);
      // After a reload, or a restart of the agent, what was read before does not compare.
      if (nextShape !== shape || (last && last.monotonicMs > now.monotonicMs)) readings.length = 0;
      readings.push(now);
      while (readings.length > 2 && now.monotonicMs - readings[1]!.monotonicMs >= meanOverMs) readings.shift();
      if (nextShape !== shape) {
        shape = nextShape;
        ({ parts, ways } = build(drawing, now, choose));
        if (!parts.has(chosen ?? '')) details.replaceChildren();
      }
      draw();
    },
  };
}

const wayKey = (e: { from: string; to: string; pipeline: string }) => `${e.pipeline}: ${e.from} → ${e.to}`;

interface NodeParts {
  readonly element: SVGGElement;
  readonly rate: SVGTextElement;
  readonly note: SVGTextElement;
  readonly fill: SVGRectElement | undefined;
  readonly title: SVGTitleElement;
}
interface WayParts {
  readonly path: SVGPathElement;
  readonly label: SVGTextElement;
}

function build(drawing: HTMLElement, now: ServiceDescription, choose: (key: string) => void) {
  const { width, height, boxes, arrows } = layOut(now);
  const parts = new Map<string, NodeParts>();
  const ways = new Map<string, WayParts>();
  const marker = svg(
    'marker',
    {
      id: 'tip',
      viewBox: '0 0 8 8',
      refX: 7,
      refY: 4,
      markerWidth: 7,
      markerHeight: 7,
      orient: 'auto',
      markerUnits: 'userSpaceOnUse',
    },
    svg('path', { d: 'M0 0.8 7 4 0 7.2z' }),
  );
  const drawn = svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': 'The running pipeline' },
    svg('defs', {}, marker),
  );
  for (const arrow of arrows) {
    const way = wayElement(arrow);
    ways.set(arrow.key, way);
    drawn.append(way.path, way.label);
  }
  for (const box of boxes) {
    const part = nodeElement(box, now.nodes.find((n) => n.key === box.key)!, choose);
    parts.set(box.key, part);
    drawn.append(part.element);
  }
  drawing.replaceChildren(drawn);
  return { parts, ways };
}

function wayElement({ points, label, signal }: Arrow): WayParts {
  const [first, ...rest] = points;
  let d = `M${first!.x} ${first!.y}`;
  let last = first!;
  for (const p of rest) {
    // Leaves and arrives level.
    const middle = (last.x + p.x) / 2;
    d += ` C${middle} ${last.y} ${middle} ${p.y} ${p.x} ${p.y}`;
    last = p;
  }
  const path = svg('path', { d, class: `way ${signal}`, 'marker-end': 'url(#tip)' });
  const text = svg('text', { x: label.x, y: label.y - 5, class: 'flow', 'text-anchor': 'middle' });
  return { path, label: text };
}

function nodeElement(box: Box, node: ServiceNode, choose: (key: string) => void): NodeParts {
  const { x, y, width, height } = box;
  const rate = svg('text', { x: 12, y: 35, class: 'rate' });
  const note = svg('text', { x: 12, y: 52, class: 'loss' });
  const title = svg('title');
  const inner = width - 24;
  const fill = node.queue && svg('rect', { x: 12, y: height - 7, width: 0, height: 3, class: 'fill' });
  if (fill) fill.dataset['full'] = String(inner);
  const element = svg(
    'g',
    {
      class: `node ${node.kind}`,
      transform: `translate(${x} ${y})`,
      tabindex: 0,
      role: 'button',
      'aria-pressed': 'false',
      'data-key': node.key,
      click: () => choose(node.key),
      keydown(event: KeyboardEvent) {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        choose(node.key);
      },
    },
    title,
    svg('rect', { width, height, rx: 5, class: 'frame' }),
    svg('rect', { width: 4, height: height - 12, x: 0, y: 6, rx: 1, class: 'stripe' }),
    svg('circle', { cx: width - 12, cy: 14, r: 4, class: 'lamp' }),
    svg('text', { x: 12, y: 18, class: 'id' }, node.id),
    rate,
    note,
    node.queue && svg('rect', { x: 12, y: height - 7, width: inner, height: 3, class: 'track' }),
    fill,
  );
  return { element, rate, note, fill, title };
}

function drawNode(part: NodeParts, node: ServiceNode, rate: number, elapsedS: number): void {
  const { state } = node.state;
  const why = 'reason' in node.state ? `: ${node.state.reason}` : '';
  part.element.dataset['state'] = node.failing.length > 0 && state === 'running' ? 'failing' : state;
  setText(part.title, `${node.kind} ${node.key.slice(node.kind.length + 1)}, ${state}${why}`);
  setText(
    part.rate,
    state === 'absent' ? 'not on this host' : elapsedS > 0 ? `${count(rate)}/s` : count(sum(node.sent)),
  );
  part.element.dataset['rate'] = String(rate);
  const losses = Object.entries(node.dropped).filter(([, n]) => n > 0);
  const dropped = losses.reduce((n, [, k]) => n + k, 0);
  const queued = node.queue && node.queue.items > 0 ? `${count(node.queue.items)} queued` : '';
  const lost = dropped > 0 ? `${count(dropped)} dropped: ${losses.sort((a, b) => b[1] - a[1])[0]![0]}` : '';
  const failing = node.failing.length > 0 ? `failing: ${node.failing[0]}` : '';
  const held = node.held ? `${count(node.held)} held` : '';
  setText(part.note, cut(lost || failing || queued || held || (node.queue ? 'queue empty' : '')));
  part.note.dataset['tone'] = lost || failing ? 'bad' : '';
  if (part.fill && node.queue) {
    const level = Math.max(node.queue.items / node.queue.itemsCapacity, node.queue.bytes / node.queue.bytesCapacity);
    part.fill.setAttribute('width', String(Math.min(1, level) * Number(part.fill.dataset['full'])));
  }
}

function drawWay({ path, label }: WayParts, rate: number, elapsedS: number): void {
  setText(label, elapsedS > 0 && rate > 0 ? `${count(rate)}/s` : '');
  path.classList.toggle('idle', elapsedS > 0 && rate === 0);
  path.style.setProperty('--width', String(rate > 0 ? 1.2 + Math.min(3, Math.log10(1 + rate) * 0.7) : 1));
}

function drawDetails(section: HTMLElement, node: ServiceNode, old: ServiceNode | undefined, elapsedS: number): void {
  const { queue } = node;
  const signals = (Object.keys(nouns) as (keyof typeof nouns)[]).filter(
    (s) => node.received[s] !== undefined || node.sent[s] !== undefined,
  );
  const perSecond = (now: number | undefined, before: number | undefined) =>
    now === undefined ? '–' : elapsedS > 0 ? `${count((now - (before ?? 0)) / elapsedS)}/s` : '';
  const cell = (n: number | undefined) => (n === undefined ? '–' : exact(n));
  const rows = signals.map((s) => [
    nouns[s],
    cell(node.received[s]),
    perSecond(node.received[s], old?.received[s]),
    cell(node.sent[s]),
    perSecond(node.sent[s], old?.sent[s]),
  ]);
  const why = 'reason' in node.state ? `: ${node.state.reason}` : '';
  const facts: [string, string][] = [
    ['state', `${node.state.state}${why}`],
    ...(node.failing.length > 0 ? [['failing now', node.failing.join(', ')] as [string, string]] : []),
    ...(node.failures > 0 ? [['failures', exact(node.failures)] as [string, string]] : []),
    ...(node.held === undefined ? [] : [['held', exact(node.held)] as [string, string]]),
    ...(queue
      ? ([
          [
            'queue',
            `${exact(queue.items)} of ${exact(queue.itemsCapacity)} items (${percent(queue.items / queue.itemsCapacity)}), ${bytes(queue.bytes)} of ${bytes(queue.bytesCapacity)}`,
          ],
          ['in flight', `${queue.inFlight}`],
        ] as [string, string][])
      : []),
    ...Object.entries(node.dropped).map(([reason, n]): [string, string] => [`dropped: ${reason}`, exact(n)]),
    ...Object.entries(node.absent).map(([what, reason]): [string, string] => [`absent: ${what}`, reason]),
  ];
  putNew(section, JSON.stringify([node.key, rows, facts]), () => [
    h('h2', {}, `${node.kind} ${node.id}${node.pipeline === undefined ? '' : ` in ${node.pipeline}`}`),
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h('tr', {}, ...['', 'received', '', 'sent', ''].map((t) => h('th', { scope: 'col', class: 'number' }, t))),
      ),
      h(
        'tbody',
        {},
        ...rows.map(([first, ...more]) =>
          h('tr', {}, h('th', { scope: 'row' }, first), ...more.map((m) => h('td', { class: 'number' }, m))),
        ),
      ),
    ),
    h('dl', { class: 'facts' }, ...facts.flatMap(([k, v]) => [h('dt', {}, k), h('dd', {}, v)])),
  ]);
}

function rateOf(now: ItemCounts, before: ItemCounts | undefined, elapsedS: number): number {
  return elapsedS > 0 ? Math.max(0, sum(now) - sum(before ?? {})) / elapsedS : 0;
}

function sum(counts: ItemCounts): number {
  return Object.values(counts).reduce((n, k) => n + k, 0);
}

function cut(text: string): string {
  return text.length > 22 ? `${text.slice(0, 21)}…` : text;
}
