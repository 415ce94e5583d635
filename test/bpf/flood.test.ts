import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { Netns, ProbeSession } from './harness.ts';

/** More drops than anybody can tell of: what was offered is delivered, suppressed or lost, to the last event. */

const flood = join(import.meta.dirname, 'flood.ts');
const command = (ns: Netns, count: number) => ['netns', 'exec', ns.name, process.execPath, flood, String(count), '0'];

async function account(session: ProbeSession, ns: Netns) {
  const events = await session.events(ns);
  const of = (what: string) => session.sum(`skoop.event.${what}`, ns, { 'skoop.event.type': 'dropped' });
  return {
    drops: session.sum('skoop.packet.drops', ns, { 'skoop.drop.reason': 'IP_CSUM' }),
    delivered: events.filter((e) => e.attributes['skoop.drop.reason'] === 'IP_CSUM').length,
    emitted: of('emitted'),
    suppressed: of('suppressed'),
    lost: of('lost'),
  };
}

test('a flood while nobody reads fills the ring; the rest is lost and counted', async () => {
  using ns = new Netns();
  using session = await ProbeSession.start('packetloss', { rate_limit: 0 });
  const count = 100_003;
  // Synchronous: the event loop, and with it the reader, stands still meanwhile.
  execFileSync('ip', command(ns, count));
  const { drops, delivered, emitted, suppressed, lost } = await account(session, ns);
  assert.equal(drops, count);
  // 2 MiB of records of 184 bytes and their heads; drops of other namespaces take room too.
  const room = Math.floor((2 << 20) / 192);
  assert.ok(emitted <= room && emitted > room / 2, `${emitted} emitted`);
  assert.deepEqual({ delivered, suppressed, lost }, { delivered: emitted, suppressed: 0, lost: count - emitted });
});

test('a flood while the reader reads: delivered + lost is what was offered', async (t) => {
  using ns = new Netns();
  using session = await ProbeSession.start('packetloss', { rate_limit: 0 });
  const count = 200_003;
  const child = spawn('ip', command(ns, count), { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
  const { drops, delivered, emitted, suppressed, lost } = await account(session, ns);
  t.diagnostic(`${delivered} delivered, ${lost} lost`);
  assert.equal(drops, count);
  assert.deepEqual({ delivered, suppressed }, { delivered: emitted, suppressed: 0 });
  assert.equal(emitted + lost, count);
});

test('a flood above the limit: the burst is delivered, the rest suppressed, nothing lost', async () => {
  using ns = new Netns();
  using session = await ProbeSession.start('packetloss', { rate_limit: 0.001, burst: 997 });
  const count = 200_003;
  execFileSync('ip', command(ns, count));
  assert.deepEqual(await account(session, ns), {
    drops: count,
    delivered: 997,
    emitted: 997,
    suppressed: count - 997,
    lost: 0,
  });
});
