import { Graph, layout } from '@dagrejs/dagre';
import type { ServiceDescription, ServiceEdge } from '../../../pipeline/service-view.ts';

/** Where each component and each way between two goes. */

const box = { width: 148, height: 62 };
const ranksep = 56;
const portGap = 11;

export interface Point {
  readonly x: number;
  readonly y: number;
}
export interface Box extends Point {
  readonly key: string;
  readonly width: number;
  readonly height: number;
}
export interface Arrow {
  /** `PIPELINE: FROM → TO` */
  readonly key: string;
  readonly signal: 'metrics' | 'logs';
  readonly points: readonly Point[];
  readonly label: Point;
}

/** Left to right, with as few crossings as dagre finds. */
export function layOut({ nodes, edges, pipelines }: ServiceDescription) {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 22, edgesep: 14, ranksep, marginx: 6, marginy: 10 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { key } of nodes) graph.setNode(key, { ...box });
  for (const { from, to, pipeline } of edges)
    graph.setEdge(from, to, { width: 30, height: 12, labelpos: 'c' }, pipeline);
  layout(graph);
  const signals = new Map(pipelines.map((p) => [p.id, p.signal]));
  const boxes = nodes.map(({ key }): Box => {
    const { x = 0, y = 0 } = graph.node(key) as { x?: number; y?: number };
    return { key, x: x - box.width / 2, y: y - box.height / 2, ...box };
  });
  const at = new Map(boxes.map((b) => [b.key, b]));
  const leaving = ports(edges, 'from', 'to', at);
  const arriving = ports(edges, 'to', 'from', at);
  const arrows = edges.map((edge): Arrow => {
    const { from, to, pipeline } = edge;
    const { points = [] } = graph.edge(from, to, pipeline) as { points?: Point[] };
    const start = { x: at.get(from)!.x + box.width, y: leaving.get(edge)! };
    const end = { x: at.get(to)!.x, y: arriving.get(edge)! };
    // A way to the next rank goes straight; one past others takes the bends that dagre found for it.
    const bends = end.x - start.x > box.width ? points.slice(1, -1) : [];
    const label = bends[Math.floor(bends.length / 2)] ?? { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 };
    const signal = signals.get(pipeline) ?? 'metrics';
    return { key: `${pipeline}: ${from} → ${to}`, signal, points: [start, ...bends, end], label };
  });
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return { width, height, boxes, arrows };
}

/** Where on a component's side each way leaves or arrives: beside one another, ordered so that they do not cross there. */
function ports(edges: readonly ServiceEdge[], here: 'from' | 'to', there: 'from' | 'to', at: ReadonlyMap<string, Box>) {
  const out = new Map<ServiceEdge, number>();
  for (const [key, own] of Map.groupBy(edges, (e) => e[here])) {
    const middle = at.get(key)!.y + box.height / 2;
    own.sort((a, b) => at.get(a[there])!.y - at.get(b[there])!.y);
    own.forEach((edge, i) => {
      out.set(edge, middle + (i - (own.length - 1) / 2) * portGap);
    });
  }
  return out;
}
