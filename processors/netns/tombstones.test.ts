import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { testEpochMs } from '../../pipeline/testing.ts';
import { pod, start } from './testing.ts';

describe('the dead', () => {
  test('late events keep their name for a minute, metrics end at once', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.clock.advance(10_000);
    const before = t.clock.nowMs() - 5000;
    t.know();
    t.clock.advance(59_000);
    t.log({ netns: 11 }, 'late', before);
    t.log({ podUid: 'uid-web-0' }, 'by uid', before);
    t.metric({ netns: 11 });
    assert.deepEqual(t.said(), ['web-0 late', 'web-0 by uid']);
    t.clock.advance(2000);
    assert.deepEqual(t.measured(), ['netns:11']);
    t.know();
    t.log({ netns: 11 }, 'too late', before);
    t.clock.advance(2000);
    assert.deepEqual(t.said().slice(2), ['netns:11 too late']);
  });

  test('an inode that comes back belongs to nobody until it is named, and never to the dead', () => {
    const t = start();
    t.know(pod('old', 11));
    t.clock.advance(10_000);
    t.know();
    t.clock.advance(100);
    t.log({ netns: 11 }, 'of the new one');
    t.metric({ netns: 11 });
    assert.deepEqual([...t.said(), ...t.measured()], []);
    t.know(pod('new', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual([...t.said(), ...t.measured()], ['new of the new one', 'new']);
  });

  test('an inode that had no name, then one, then none, may wait again', () => {
    const t = start();
    t.log({ netns: 11 }, 'of nobody');
    t.clock.advance(5000);
    t.know(pod('a', 11, { createdAtMs: t.clock.nowMs() }));
    t.clock.advance(5000);
    t.know();
    t.clock.advance(100);
    t.log({ netns: 11 }, 'of b');
    t.know(pod('b', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual(t.said(), ['netns:11 of nobody', 'b of b']);
  });

  test('both in one list change: each event gets who had the inode when it happened', () => {
    const t = start();
    t.know(pod('old', 11));
    const seen = t.clock.nowMs();
    t.clock.advance(10_000);
    const born = t.clock.nowMs() - 3000;
    t.know(pod('new', 11, { createdAtMs: born }));
    t.log({ netns: 11 }, 'long ago', seen);
    t.log({ netns: 11 }, 'before the birth', born - 2000);
    t.log({ netns: 11 }, 'while it was made', born - 500);
    t.log({ netns: 11 }, 'now');
    assert.deepEqual(t.said(), ['old long ago', 'old before the birth', 'new while it was made', 'new now']);
    t.metric({ netns: 11 });
    assert.deepEqual(t.measured(), ['new']);
  });

  test('what happened long before a pod was made is not the pod’s', () => {
    const t = start({ wait: '0s' });
    t.know(pod('web-0', 11));
    t.log({ netns: 11 }, 'while CNI worked', testEpochMs - 60_000);
    t.log({ netns: 11 }, 'of somebody else', testEpochMs - 121_000);
    assert.deepEqual(t.said(), ['web-0 while CNI worked', 'netns:11 of somebody else']);
  });

  test('a pod whose sandbox was stopped but is still listed loses its namespace, not its name', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.clock.advance(1000);
    t.know(pod('web-0', undefined, { state: 'notready' }));
    t.clock.advance(1000);
    t.log({ podUid: 'uid-web-0' }, 'by uid');
    t.log({ netns: 11 }, 'someone else');
    assert.deepEqual(t.said(), ['web-0 by uid']);
    t.know(pod('web-0', undefined, { state: 'notready' }), pod('next', 11, { createdAtMs: t.clock.nowMs() }));
    assert.deepEqual(t.said(), ['web-0 by uid', 'next someone else']);
  });

  test('a pause process that was killed changes nothing: NOTREADY with its namespace', () => {
    const t = start();
    t.know(pod('web-0', 11));
    t.know(pod('web-0', 11, { state: 'notready' }));
    t.clock.advance(100_000);
    t.log({ netns: 11 });
    assert.deepEqual(t.said(), ['web-0 event']);
  });

  test('a container that crashes all day keeps its last names only, and the pod’s', () => {
    const t = start();
    for (let i = 0; i < 100; i++) {
      t.know(pod('web-0', 11, { containers: [{ id: `c${i}`, name: 'app', image: 'i', state: 'running' }] }));
    }
    t.metric({ netns: 11, containerId: 'c99' });
    t.metric({ netns: 11, containerId: 'c90' });
    t.metric({ netns: 11, containerId: 'c1' });
    assert.deepEqual(t.measured(), ['web-0/app', 'web-0/app', 'web-0']);
  });

  test('1000 pods come and go on the same ten inodes: every event of a living one is right', () => {
    const t = start();
    for (let i = 0; i < 1000; i++) {
      t.know(pod(`p${i}`, 10 + (i % 10), { createdAtMs: t.clock.nowMs() }));
      t.clock.advance(1500);
      t.log({ netns: 10 + (i % 10) }, `e${i}`);
    }
    assert.deepEqual(
      t.said(),
      Array.from({ length: 1000 }, (_, i) => `p${i} e${i}`),
    );
  });

  test('an inode that is used again before the runtime tells of the pod’s end: the cookie keeps its name from a stranger', () => {
    const t = start();
    t.know(pod('web-0', 11, { netnsCookie: 501 }));
    t.log({ netns: 11, netnsCookie: 501 }, 'own');
    t.log({ netns: 11, netnsCookie: 502 }, 'stranger');
    assert.deepEqual(t.said(), ['web-0 own'], 'the stranger waits for a name of its own');
    t.know(pod('web-0', 11, { netnsCookie: 501 }), pod('web-1', 11, { netnsCookie: 502 }));
    assert.deepEqual(t.said(), ['web-0 own', 'web-1 stranger']);
    t.know(pod('web-1', 11, { netnsCookie: 502 }));
    t.log({ netns: 11, netnsCookie: 501 }, 'late');
    assert.equal(t.said().at(-1), 'web-0 late', 'and a late event is still the dead pod’s');
  });
});
