/**
 * What it costs to know the cluster: `node --expose-gc bench/peers.ts [--pods 5000]`.
 *
 * An API server (test/pods/fake-api.ts, in a process of its own) has so many pods, each as long as a real one, 500 services and 250 nodes. The receiver
 * `k8s` fills itself from it and follows changes; `processors/peer` takes its lists and 4096 flows. CPU is this process's own account.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Subject } from 'rxjs';
import { stringify } from 'yaml';
import { type Batch, type EntitiesBatch, type MetricsBatch, makeSchema } from '../pipeline/batch.ts';
import { systemClock } from '../pipeline/clock.ts';
import { testContext } from '../pipeline/testing.ts';
import { config as peerConfig } from '../processors/peer/config.ts';
import { createProcessor } from '../processors/peer/processor.ts';
import { metrics as flowMetrics } from '../receivers/ebpf/flow.ts';
import { config as k8sConfig } from '../receivers/k8s/config.ts';
import { createReceiver } from '../receivers/k8s/receiver.ts';
import { nodeObject, serviceObject } from '../receivers/k8s/testing.ts';
import { freePorts } from '../test/interop/collector-process.ts';
import type { Order } from '../test/pods/fake-api.ts';

const { values } = parseArgs({ options: { pods: { type: 'string', default: '5000' } } });
const podCount = Number(values.pods);
const nodeCount = 250;
const flowCount = 4096;
const changes = 500;

const root = `${import.meta.dirname}/..`;
const [template] = JSON.parse(readFileSync(`${root}/receivers/k8s/testdata/pod-list.json`, 'utf8')).items;
const ipOf = (i: number) => `10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;

/** One of ten pods of a Deployment. @param ready changes with each write of its status. */
function podOf(i: number, ip = ipOf(i), ready = 'True') {
  const pod = structuredClone(template);
  const name = `service-${Math.floor(i / 10)}-6d4b75cb6d`;
  Object.assign(pod.metadata, { name: `${name}-${String(i).padStart(5, '0')}`, uid: `pod-${i}` });
  pod.metadata.ownerReferences[0].name = name;
  pod.spec.nodeName = `node-${i % nodeCount}`;
  Object.assign(pod.status, { podIP: ip, podIPs: [{ ip }] });
  pod.status.conditions[1].status = ready;
  return pod;
}

const [port] = await freePorts(1);
const api = spawn(process.execPath, [`${root}/test/pods/fake-api.ts`, '127.0.0.1', String(port)], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const tell = (order: Order) => api.stdin.write(`${JSON.stringify(order)}\n`);
await new Promise((resolve) => api.stdout.once('data', resolve));
tell({
  put: 'nodes',
  objects: Array.from({ length: nodeCount }, (_, i) => nodeObject(`node-${i}`, `192.0.2.${i}`, `zone-${i % 3}`)),
});
tell({
  put: 'services',
  objects: Array.from({ length: 500 }, (_, i) => serviceObject(`service-${i}`, [`10.96.${i >> 8}.${i & 255}`])),
});
for (let i = 0; i < podCount; i += 500)
  tell({ put: 'pods', objects: Array.from({ length: 500 }, (_, n) => podOf(i + n)) });

const folder = mkdtempSync(join(tmpdir(), 'skl-bench-peers-'));
const kubeconfig = join(folder, 'config');
writeFileSync(
  kubeconfig,
  stringify({
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }],
    users: [{ name: 'u', user: {} }],
  }),
);

const context = { ...testContext({ id: 'k8s', node: 'node-0' }), clock: systemClock };
const rssMiB = () => {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
};
const heapMiB = () => process.memoryUsage().heapUsed / 2 ** 20;
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const until = async (met: () => boolean) => {
  while (!met()) await sleep(5);
};

const input$ = new Subject<Batch>();
let out: Batch | undefined;
const applyMs: number[] = [];
const outputs = input$.pipe(createProcessor(peerConfig.parse({ by: 'workload' }), context)).subscribe((b) => {
  out = b;
});
const push = (batch: Batch) => {
  const began = cpuMs();
  input$.next(batch);
  return cpuMs() - began;
};

// The objects go through JSON once before, so that what the parser and the sockets keep for good is not counted as the cluster's.
const [rss0, heap0, cpu0] = [rssMiB(), heapMiB(), cpuMs()];
let last: EntitiesBatch | undefined;
const subscription = createReceiver(k8sConfig.parse({ kubeconfig }), context)
  .run()
  .subscribe((batch) => {
    if (batch.kind !== 'entities') return;
    last = batch;
    applyMs.push(push(batch));
  });
const all = podCount + 500 + nodeCount;
await until(() => last?.entities.length === all);
const fillMs = cpuMs() - cpu0;
const bytes = JSON.stringify(template).length;
console.log(`\n${podCount} pods of ${bytes} bytes, 500 services, ${nodeCount} nodes; ${process.version}`);
console.log(`filled: ${fillMs.toFixed(0)} ms of CPU, ${((fillMs / podCount) * 1000).toFixed(0)} µs a pod`);
const [rss1] = [rssMiB()];
console.log(
  `peers: ${(rss1 - rss0).toFixed(1)} MiB resident, ${(heapMiB() - heap0).toFixed(1)} MiB of heap, receiver and processor`,
);

const eventsOf = () => context.telemetry.count('k8s_watch_events', { resource: 'pods', type: 'MODIFIED' });
async function follow(what: string, change: (i: number) => object): Promise<void> {
  await sleep(1500);
  const [before, sent, cpu] = [eventsOf(), applyMs.length, cpuMs()];
  for (let i = 0; i < changes; i++) tell({ put: 'pods', objects: [change(i)] });
  const telling = cpuMs();
  await until(() => eventsOf() === before + changes);
  const followed = cpuMs() - telling;
  await sleep(1500);
  const lists = applyMs.length - sent;
  console.log(
    `${what}: ${(followed / changes).toFixed(3)} ms a change, ${lists} lists sent on (telling took ${(telling - cpu).toFixed(0)} ms)`,
  );
}
await follow('status only', (i) => podOf(i, ipOf(i), 'False'));
await follow('a new address', (i) => podOf(i, ipOf(100_000 + i)));

/** A list with one change, to the processor; the median of 50. */
const entities = [...last!.entities];
const lists = Array.from({ length: 50 }, (_, i) => {
  entities[1000 + i] = { ...entities[1000 + i]! };
  return push({ ...last!, timeMs: systemClock.nowMs(), entities: [...entities] });
}).sort((a, b) => a - b);
console.log(`list with one change to processors/peer: ${lists[25]!.toFixed(2)} ms`);

const flow = flowMetrics['skoop.flow.io'];
const packets = flowMetrics['skoop.flow.packets'];
function flows(n: number, at: number): MetricsBatch {
  const attributes = Array.from({ length: n }, (_, i) => ({
    'network.io.direction': i % 2 ? 'receive' : 'transmit',
    'network.transport': 'tcp',
    'source.address': i % 2 ? ipOf(1000 + i) : '10.64.0.1',
    'destination.address': i % 2 ? '10.64.0.1' : ipOf(1000 + i),
  }));
  const schema = makeSchema([flow, packets].flatMap((metric) => attributes.map((a) => ({ metric, attributes: a }))));
  const resource = { attributes: { 'k8s.pod.uid': 'pod-0', 'k8s.pod.name': 'a', 'k8s.node.name': 'node-0' } };
  const one = { owner: { netns: 7 }, resource, startTimeMs: 0, timeMs: systemClock.nowMs(), schema };
  const counts = Float64Array.from({ length: schema.slots }, (_, i) => i + at);
  return { kind: 'metrics', source: 'ebpf/flow', scope: { name: 'ebpf' }, snapshots: [{ ...one, values: counts }] };
}
const first = flows(flowCount, 1);
const again = (at: number): MetricsBatch => ({
  ...first,
  snapshots: first.snapshots.map((s) => ({ ...s, values: s.values.map((v) => v + at) })),
});
const firstMs = push(first);
const same = Array.from({ length: 20 }, (_, i) => push(again(i + 1))).sort((a, b) => a - b)[10]!;
const others = Array.from({ length: 20 }, (_, i) => push(flows(flowCount, 100 + i))).sort((a, b) => a - b)[10]!;
const { schema } = (out as MetricsBatch).snapshots[0]!;
console.log(
  `${flowCount} flows (${2 * flowCount} series) folded to ${schema.series.length}: first ${firstMs.toFixed(1)} ms, the same flows ${same.toFixed(2)} ms, other flows or names ${others.toFixed(1)} ms`,
);

subscription.unsubscribe();
outputs.unsubscribe();
api.stdin.end();
rmSync(folder, { recursive: true });
