import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PeerEntity } from '../../pipeline/batch.ts';
import { canonicalIp, type ResourceName, Trimmer } from './objects.ts';

const itemsOf = (file: string) =>
  (JSON.parse(readFileSync(`${import.meta.dirname}/testdata/${file}-list.json`, 'utf8')) as { items: unknown[] }).items;
const lists = { pods: itemsOf('pod'), services: itemsOf('service'), nodes: itemsOf('node') } as const;

const trimmed = (resource: ResourceName, node: string) => {
  const trimmer = new Trimmer(node);
  return lists[resource].map((object) => trimmer.trim(resource, object)?.peer);
};
const line = (p: PeerEntity | undefined) =>
  p &&
  `${p.name} ${p.ips.join()} ${p.workload ? `${p.workload.kind}/${p.workload.name}` : '-'} ${p.node ?? p.zone ?? '-'}`;

test('pods of other nodes: address, workload, node; hostNetwork pods are not kept', () => {
  assert.deepEqual(trimmed('pods', 'worker-9').map(line), [
    'web-6d4b75cb6d-hwd5b 10.244.2.7,fd00:10:244:2::7 Deployment/web worker-2',
    'cart-0 10.244.1.9 StatefulSet/cart worker-1',
    undefined,
    undefined,
    'backup-29919374-q7m4c 10.244.2.31 CronJob/backup worker-2',
    'debug 10.244.2.40 Pod/debug worker-2',
  ]);
});

test('pods of the own node: labels too, and hostNetwork pods without an address', () => {
  const own = trimmed('pods', 'control-1')[3];
  assert.equal(line(own), 'etcd-control-1  StaticPod/etcd control-1');
  assert.deepEqual(own?.labels, { component: 'etcd', tier: 'control-plane' });
  const cart = trimmed('pods', 'worker-1').find((p) => p?.name === 'cart-0');
  assert.deepEqual(cart?.annotations, { 'example.org/team': 'payments' });
  assert.equal(cart?.createdAtMs, Date.UTC(2026, 10, 20, 8, 14, 2));
});

test('services by cluster addresses and those from outside; headless and external names are none', () => {
  assert.deepEqual(trimmed('services', 'x').map(line), [
    'kubernetes 10.96.0.1 - -',
    'web 10.96.7.7,fd00:10:96::707 - -',
    undefined,
    'edge 10.96.9.9,198.51.100.9,203.0.113.80 - -',
    undefined,
  ]);
});

test('nodes by internal and external addresses, with their zone', () => {
  assert.deepEqual(trimmed('nodes', 'x').map(line), [
    'control-1 192.0.2.10 - -',
    'worker-1 192.0.2.11,2001:db8::11,203.0.113.11 - eu-1a',
    'worker-2 192.0.2.12 - eu-1b',
  ]);
});

test('addresses are written as the kernel’s are here', () => {
  assert.equal(canonicalIp('fd00:0:0::7'), 'fd00::7');
  assert.equal(canonicalIp('FD00::A'), 'fd00::a');
  assert.equal(canonicalIp('10.0.0.1'), '10.0.0.1');
  for (const none of ['None', '', '10.0.0', 'fe80::1%eth0', 'db.example.org'])
    assert.equal(canonicalIp(none), undefined);
});

/** Replaces one member somewhere in an object by something else. */
function withChange(object: unknown, path: readonly number[], by: unknown): unknown {
  if (path.length === 0 || typeof object !== 'object' || object === null) return by;
  const keys = Object.keys(object);
  if (keys.length === 0) return by;
  const key = keys[path[0]! % keys.length]!;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(object) ? [...object] : { ...object };
  (copy as Record<string, unknown>)[key] = withChange((object as Record<string, unknown>)[key], path.slice(1), by);
  return copy;
}

test('whatever stands in the place of any member: no exception, texts and addresses only', () => {
  const strange = fc.oneof(fc.anything(), fc.constantFrom(null, [], {}, '', 0, 'x'.repeat(10_000)));
  const resources = ['pods', 'services', 'nodes'] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...resources),
      fc.nat(5),
      fc.array(fc.nat(20), { maxLength: 6 }),
      strange,
      (resource, i, path, by) => {
        const list = lists[resource];
        const peer = new Trimmer('worker-1').trim(resource, withChange(list[i % list.length], path, by))?.peer;
        if (peer === undefined) return;
        for (const text of [peer.uid, peer.name, peer.namespace, ...peer.ips]) assert.equal(typeof text, 'string');
        assert.ok(Number.isFinite(peer.createdAtMs));
      },
    ),
    { numRuns: 3000 },
  );
});
