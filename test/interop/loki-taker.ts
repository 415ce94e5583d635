import type { TestNode } from '../bed/node.ts';
import { type Hands, startHands } from '../pods/faults-hands.ts';
import type { Push } from './logql.ts';

/** Stands where a Loki would (127.0.0.1:3100 of a node) and keeps what is pushed to it. */
export interface LokiTaker {
  pushes(): Promise<Push[]>;
  stop(): Promise<void>;
}

/** Starts it in a node. */
export async function startLokiTaker(node: TestNode): Promise<LokiTaker> {
  const hands: Hands = await startHands(node);
  await hands.run('taken = take_posts(3100, 204)');
  const pushes = () =>
    hands.run<Push[]>("out = [json.loads(body) for path, body in taken if path == '/loki/api/v1/push']");
  return { pushes, stop: () => hands.stop() };
}
