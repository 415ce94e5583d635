/**
 * An API server in a process of its own, so that it can live in a test node: `node fake-api.ts HOST PORT`, objects and orders as JSON lines on
 * standard input, `ready` on standard output.
 */
import { createInterface } from 'node:readline';
import type { ResourceName } from '../../receivers/k8s/objects.ts';
import { type ApiObject, FakeApi } from '../../receivers/k8s/testing.ts';

/** One line of standard input. */
export type Order =
  | { readonly put: ResourceName; readonly objects: readonly ApiObject[] }
  | { readonly delete: ResourceName; readonly uid: string };

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const api = new FakeApi({ host });
await api.start(Number(port));
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as Order;
  if ('put' in order) api.put(order.put, ...order.objects);
  else api.delete(order.delete, order.uid);
}
await api.stop();
