import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Owner, PodEntity } from '../../pipeline/batch.ts';
import { IdentityTable } from './identity.ts';

const facts = { name: 'node-a', hostName: 'host-a', kernel: '6.18.0' };

/** A pod of the model: who had which inode, and when, in ms. */
interface Life {
  readonly name: string;
  readonly netns: number;
  readonly bornMs: number;
  readonly diedMs: number;
}

const entityOf = ({ name, netns, bornMs }: Life): PodEntity => ({
  kind: 'pod',
  uid: name,
  name,
  namespace: 'n',
  hostNetwork: false,
  netns,
  sandboxId: name,
  state: 'ready',
  createdAtMs: bornMs,
  ips: [],
  labels: {},
  annotations: {},
  containers: [],
  runtime: 'containerd',
});

/** Lives that follow one another on three inodes, as the kernel gives them out. */
const lives = fc
  .array(
    fc.record({
      netns: fc.constantFrom(11, 12, 13),
      restMs: fc.nat(5000),
      lifeMs: fc.integer({ min: 1, max: 20_000 }),
    }),
    {
      minLength: 1,
      maxLength: 25,
    },
  )
  .map((steps): Life[] => {
    const free = new Map<number, number>();
    return steps.map(({ netns, restMs, lifeMs }, i) => {
      const bornMs = (free.get(netns) ?? 1_000_000) + restMs + 1;
      free.set(netns, bornMs + lifeMs);
      return { name: `p${i}`, netns, bornMs, diedMs: bornMs + lifeMs };
    });
  });

test('whatever pods come and go, and whenever lists and events arrive, a name is right or none', () => {
  let right = 0;
  fc.assert(
    fc.property(lives, fc.integer({ min: 100, max: 10_000 }), fc.nat(30_000), (all, pollMs, lateMs) => {
      const table = new IdentityTable(facts, 60_000);
      const endMs = Math.max(...all.map((l) => l.diedMs)) + 70_000;
      const events: { atMs: number; life: Life; arrivesMs: number }[] = all.flatMap((life) =>
        [0, 0.25, 0.5, 0.75].map((part) => {
          const atMs = Math.floor(life.bornMs + part * (life.diedMs - life.bornMs));
          return { atMs, life, arrivesMs: atMs + lateMs };
        }),
      );
      events.sort((a, b) => a.arrivesMs - b.arrivesMs);
      let lastListMs = 0;
      for (let nowMs = 1_000_000; nowMs < endMs; nowMs += pollMs) {
        const alive = all.filter((l) => l.bornMs <= nowMs && nowMs < l.diedMs);
        table.apply({ kind: 'entities', source: 'cri', timeMs: nowMs, entities: alive.map(entityOf) });
        lastListMs = nowMs;
        for (const { atMs, life, arrivesMs } of events) {
          if (arrivesMs < nowMs || arrivesMs >= nowMs + pollMs) continue;
          const name = table.resourceOf({ netns: life.netns }, atMs)?.attributes['k8s.pod.name'];
          const before = all.filter((l) => l.netns === life.netns && l.diedMs <= atMs).at(-1);
          // Until the list after a pod's end nobody can know that its inode has changed hands.
          const unknowable = before !== undefined && before.diedMs > atMs - pollMs - 1000;
          // A pod that lived between two lists was never heard of.
          const firstListMs = 1_000_000 + Math.ceil((life.bornMs - 1_000_000) / pollMs) * pollMs;
          const unheard = firstListMs >= life.diedMs;
          // The second before a sandbox is the new pod's: its network is made before the runtime notes its birth.
          const next = all.find((l) => l.netns === life.netns && l.bornMs > life.bornMs);
          const border = next !== undefined && atMs >= next.bornMs - 1000;
          if (name === life.name) right++;
          else if (name !== undefined)
            assert.ok(unknowable || unheard || border, `${name} for ${life.name} at ${atMs}, list at ${lastListMs}`);
        }
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(right > 1000, `${right} named`);
});

test('pods that share a namespace nobody has named stay apart, and one pod is one', () => {
  const table = new IdentityTable(facts, 60_000);
  const netns = (inode: number, podUids: readonly string[]) =>
    ({ kind: 'netns', netns: inode, host: false, podUids, containerIds: [], firstSeenMs: 0 }) as const;
  const entities = [netns(11, ['u1', 'u2']), netns(12, ['u3'])];
  table.apply({ kind: 'entities', source: 'procfs', timeMs: 1000, entities });
  const uidOf = (owner: Owner) => table.unnamed(owner).attributes['k8s.pod.uid'];
  assert.deepEqual([{ netns: 11 }, { netns: 11, podUid: 'u1' }, { netns: 11, podUid: 'u2' }].map(uidOf), [
    undefined,
    'u1',
    'u2',
  ]);
  const resource = table.unnamed({ netns: 11, podUid: 'u1' });
  assert.equal(resource.attributes['skoop.netns.inode'], 11);
  assert.equal(table.unnamed({ netns: 11, podUid: 'u1' }), resource, 'the same object while the same is known');
  assert.deepEqual(table.unnamed({ netns: 12, podUid: 'u3' }), table.unnamed({ netns: 12 }));
});
