import type { Breakdown } from '../../../view/types.ts';
import type { PodMessage, PodPage } from '../messages.ts';
import { HeatMap, LineChart } from './charts.ts';
import { h, putNew, setText } from './dom.ts';
import { eventElement, eventHead } from './events.ts';
import { byteRate, count, exact, happened, percent, seconds, span } from './format.ts';
import { drawStrip } from './strip.ts';
import type { Shell, View } from './view.ts';

type Quantity = keyof PodPage['recent'];

const trafficLines: readonly (readonly [Quantity, string, string])[] = [
  ['rxBytes', 'in', '--line-1'],
  ['txBytes', 'out', '--line-2'],
];
const troubleLines: readonly (readonly [Quantity, string, string])[] = [
  ['drops', 'drops', '--line-3'],
  ['retransmits', 'retransmits', '--line-4'],
  ['resets', 'resets', '--line-5'],
  ['connectFailures', 'connects failed', '--line-6'],
  ['udpOverflows', 'UDP full', '--line-2'],
  ['acceptOverflows', 'accept full', '--line-1'],
];
/** Shown though they are 0: that nothing was dropped is news. */
const always = new Set<Quantity>(['drops', 'retransmits']);

/** Everything about one pod. */
export function podView({ root }: Shell, key: string): View {
  const name = h('h1', {}, '');
  const facts = h('dl', { class: 'facts line' });
  const reason = h('p', { class: 'reason' });
  const strip = h('dl', { class: 'strip' });
  const gone = h(
    'p',
    { class: 'note', hidden: true },
    'This pod is not here (any more). ',
    h('a', { href: '#/pods' }, 'All pods'),
  );
  const traffic = new LineChart('Traffic', byteRate);
  const trouble = new LineChart('Trouble, per second', count);
  const heats = h('div', { class: 'charts' });
  const maps = new Map<string, HeatMap>();
  const tables = h('div', { class: 'panels' });
  const events = h('tbody');
  const page = h(
    'div',
    { class: 'pod', hidden: true },
    h('div', { class: 'head' }, name, facts),
    reason,
    strip,
    h('div', { class: 'charts' }, traffic.element, trouble.element),
    tables,
    heats,
    h(
      'section',
      {},
      h('h2', {}, 'Last events'),
      h(
        'div',
        { class: 'scroll' },
        h(
          'table',
          { class: 'events' },
          h('caption', { class: 'unseen' }, 'Last events of this pod'),
          eventHead(false),
          events,
        ),
      ),
    ),
  );
  root.append(page, gone);

  const drawHeats = (pod: PodPage) => {
    for (const { latency, label, history, p50, p90, p99, count: n } of pod.latencies) {
      if (!history) continue;
      let map = maps.get(latency);
      if (!map) {
        map = new HeatMap(`Latency: ${label}`);
        maps.set(latency, map);
        heats.append(map.element);
      }
      map.update(history);
      map.describe(`p50 ${seconds(p50)}  p90 ${seconds(p90)}  p99 ${seconds(p99)}  of ${count(n)}`);
    }
  };
  return {
    title: 'Pod',
    topic: () => `pod/${encodeURIComponent(key)}`,
    update(message) {
      const { pod: whole, windowMs } = message as PodMessage;
      const pod = whole && trimmed(whole);
      gone.hidden = pod !== null;
      page.hidden = pod === null;
      if (!pod) return;
      document.title = `${pod.name} · skoopline`;
      setText(name, pod.name);
      drawFacts(facts, pod);
      setText(
        reason,
        pod.worst
          ? `${happened(pod.worst.count, pod.worst.label)} in the last ${span(windowMs)}${pod.worst.reason ? `, mostly ${pod.worst.reason}` : ''}`
          : `Nothing wrong in the last ${span(windowMs)}`,
      );
      reason.dataset['tone'] = pod.worst ? 'bad' : '';
      drawStrip(strip, pod);
      const lines = (of: typeof trafficLines, keep: (q: Quantity, v: readonly number[]) => boolean) =>
        of.flatMap(([q, label, color]) => {
          const values = pod.history.values[q];
          return values && keep(q, values) ? [{ label, values, color }] : [];
        });
      traffic.update(
        pod.history,
        lines(trafficLines, () => true),
      );
      trouble.update(
        pod.history,
        lines(troubleLines, (q, values) => always.has(q) || values.some((v) => v > 0)),
      );
      drawTables(tables, pod, span(windowMs));
      drawHeats(pod);
      putNew(events, pod.events.map((e) => e.sequence).join(), () => pod.events.map((e) => eventElement(e, false)));
    },
    close() {
      for (const chart of [traffic, trouble, ...maps.values()]) chart.close();
    },
  };
}

/** Steps that charts show at least. */
const minSteps = 24;

/** Without the time before anything was seen of the pod: an agent, or a pod, that has just started has no past. */
function trimmed(pod: PodPage): PodPage {
  const { timesMs, values } = pod.history;
  const busy = Object.values(values).map((row) => row.findIndex((v) => v > 0));
  const first = Math.min(...busy.filter((i) => i >= 0), timesMs.length);
  const from = Math.max(0, Math.min(first - 1, timesMs.length - minSteps));
  if (from === 0) return pod;
  const cut = <T>(row: readonly T[]) => row.slice(from);
  return {
    ...pod,
    history: {
      ...pod.history,
      timesMs: cut(timesMs),
      values: Object.fromEntries(Object.entries(values).map(([q, row]) => [q, cut(row)])),
    },
    latencies: pod.latencies.map((l) => {
      if (!l.history) return l;
      return { ...l, history: { ...l.history, timesMs: cut(l.history.timesMs), counts: cut(l.history.counts) } };
    }),
  };
}

function drawFacts(facts: HTMLElement, pod: PodPage): void {
  const uid = pod.resource['k8s.pod.uid'];
  const inode = pod.resource['skoop.netns.inode'];
  const states = Object.entries(pod.tcpConnections).sort((a, b) => b[1] - a[1]);
  const all: [string, string][] = [
    ['namespace', pod.namespace],
    ...(pod.kind === 'pod' ? [] : [['kind', pod.kind] as [string, string]]),
    ...(pod.hostNetwork ? [['network', "the node's"] as [string, string]] : []),
    ...(pod.state === 'notready' ? [['state', 'not ready'] as [string, string]] : []),
    ...(pod.ips.length > 0 ? [['addresses', pod.ips.join(' ')] as [string, string]] : []),
    ...(states.length > 0 ? [['TCP', states.map(([s, n]) => `${n} ${s}`).join(', ')] as [string, string]] : []),
    ...(uid === undefined ? [] : [['uid', String(uid)] as [string, string]]),
    ...(uid === undefined && inode !== undefined ? [['netns', String(inode)] as [string, string]] : []),
  ];
  putNew(facts, JSON.stringify(all), () => all.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', {}, v))));
}

interface Panel {
  readonly title: string;
  readonly heads: readonly string[];
  /** The first cell is text, the others numbers. */
  readonly rows: readonly (readonly string[])[];
}

function drawTables(panels: HTMLElement, pod: PodPage, window: string): void {
  const broken = (title: string, head: string, all: readonly Breakdown[]): Panel => ({
    title,
    heads: [head, window, 'total'],
    rows: all.map(({ labels, recent, total }) => [
      labels.filter(Boolean).join(' · ') || '–',
      exact(recent),
      exact(total),
    ]),
  });
  const all: Panel[] = [
    broken('Drops by reason', 'reason · where', pod.drops),
    broken('Resets', 'side · reason', pod.resets),
    broken('Connects failed', 'error', pod.connectFailures),
    broken('Retransmits', 'kind', pod.retransmitKinds),
    {
      title: 'Worst peers',
      heads: ['address', 'round trip', 'sent again', 'traffic'],
      rows: pod.peers.map((p) => [
        p.address,
        p.rttSeconds === undefined ? '–' : seconds(p.rttSeconds),
        p.retransmitRatio === undefined ? '–' : percent(p.retransmitRatio),
        p.bytesPerSecond === undefined ? '–' : byteRate(p.bytesPerSecond),
      ]),
    },
    {
      title: 'Accept queues',
      heads: ['listener', 'waiting', 'limit'],
      rows: pod.listeners.map((l) => [
        l.address.includes(':') ? `[${l.address}]:${l.port}` : `${l.address}:${l.port}`,
        exact(l.queue),
        l.limit === undefined ? '–' : exact(l.limit),
      ]),
    },
  ];
  const filled = all.filter((p) => p.rows.length > 0);
  putNew(panels, JSON.stringify(filled), () => filled.map(panelElement));
}

function panelElement({ title, heads, rows }: Panel): HTMLElement {
  const head = heads.map((text, i) => h('th', { scope: 'col', class: i > 0 && 'number' }, text));
  const body = rows.map(([first, ...numbers]) =>
    h('tr', {}, h('th', { scope: 'row' }, first), ...numbers.map((n) => h('td', { class: 'number' }, n))),
  );
  const table = h(
    'table',
    {},
    h('caption', { class: 'unseen' }, title),
    h('thead', {}, h('tr', {}, ...head)),
    h('tbody', {}, ...body),
  );
  return h('section', { class: 'panel' }, h('h2', {}, title), table);
}
