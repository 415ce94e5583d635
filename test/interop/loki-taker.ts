import type { TestNode } from '../bed/node.ts';
import { type Hands, startHands } from '../pods/faults-hands.ts';
import type { Push } from './logql.ts';

/** Stands where a Loki would (127.0.0.1:3100 of a node) and keeps what is pushed to it. */
export interface LokiTaker {
  pushes(): Promise<Push[]>;
  stop(): Promise<void>;
}

const server = `import gzip, http.server, threading
pushes = []
class Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        ok = self.path == '/loki/api/v1/push' and self.headers['Content-Type'] == 'application/json'
        if ok: pushes.append(json.loads(gzip.decompress(body) if self.headers['Content-Encoding'] == 'gzip' else body))
        self.send_response(204 if ok else 400); self.end_headers()
    def log_message(self, *_): pass
taker = http.server.ThreadingHTTPServer(('127.0.0.1', 3100), Taker)
threading.Thread(target=taker.serve_forever, daemon=True).start()`;

/** Starts it in a node. */
export async function startLokiTaker(node: TestNode): Promise<LokiTaker> {
  const hands: Hands = await startHands(node);
  await hands.run(server);
  return { pushes: () => hands.run<Push[]>('out = pushes'), stop: () => hands.stop() };
}
