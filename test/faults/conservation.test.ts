/**
 * Nothing that the queue on disk acknowledged is lost: a sender of numbered records is killed -9 again and again while its backend fails in
 * every way a backend can. At the end every acknowledged record has arrived, unaltered, and none twice but for what was in flight.
 * `SOAK=1` for 1000 kills.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Backend, type Reply } from '../../pipeline/http-push/testing.ts';
import { ProtobufWriter } from '../../pipeline/protobuf.ts';
import { Ledger } from './ledger.ts';
import { Sender } from './sender-process.ts';

const soak = process.env['SOAK'] === '1';
const kills = Number(process.env['KILLS'] ?? (soak ? 1000 : 200));
const records = 5000 * Math.min(kills, 200);

const folder = mkdtempSync(join(tmpdir(), `skl${process.pid}-conserve-`));
const senders: Sender[] = [];
function newSender(url: string, name: string, size: number): Sender {
  const sender = new Sender({ endpoint: url, directory: join(folder, name), size });
  senders.push(sender);
  return sender;
}
after(() => {
  for (const sender of senders) sender.end();
  rmSync(folder, { recursive: true, force: true });
});

function partialSuccess(rejected: number): Uint8Array {
  const w = new ProtobufWriter(64);
  w.byte((1 << 3) | 2);
  const mark = w.begin(1);
  w.byte(1 << 3);
  w.varint(rejected);
  w.end(mark);
  return Uint8Array.from(w.bytes());
}

/** A backend that misbehaves at random, with outages of some hundred milliseconds; `state.calm` ends that. */
async function faultyBackend(
  ledger: Ledger,
  counts: Record<string, number>,
  state: { calm: boolean },
): Promise<Backend> {
  const backend = await new Backend().start();
  backend.keep = false;
  let outageUntilMs = 0;
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  backend.reply = ({ body, headers }): Reply => {
    const take = (reject = 0) => ledger.take(body, reject, Number(headers['x-life']));
    const dice = state.calm ? 1 : Math.random();
    if (!state.calm && Date.now() < outageUntilMs) {
      count('outage');
      return { cut: 'before' };
    }
    if (dice < 0.01) outageUntilMs = Date.now() + 300;
    const fault = (what: string, reply: Reply): Reply => {
      count(what);
      return reply;
    };
    if (dice < 0.04) return fault('503', { status: 503 });
    if (dice < 0.07) return fault('429', { status: 429, headers: { 'retry-after': dice < 0.045 ? '1' : '0' } });
    if (dice < 0.09) {
      const told = take(1);
      return fault('partial success', { body: partialSuccess(1), sent: told });
    }
    // These are taken, but the sender does not learn it.
    if (dice < 0.11) return take() && fault('cut after taking', { cut: 'before' });
    if (dice < 0.13) return take() && fault('answer cut short', { cut: 'body' });
    if (dice < 0.132) return take() && fault('no answer', { hang: true });
    const told = take();
    if (dice < 0.2) return fault('slow', { delayMs: 60, sent: told });
    return fault('ok', { sent: told });
  };
  return backend;
}

test(`${records} numbered records through ${kills} kills and a faulty backend`, { timeout: 3_600_000 }, async () => {
  const ledger = new Ledger(records);
  const counts: Record<string, number> = {};
  const state = { calm: false };
  const backend = await faultyBackend(ledger, counts, state);
  const sender = newSender(backend.url, 'queue', records);
  try {
    for (let kill = 0; kill < kills; kill++) {
      // An even share of the records for each life, so that they last.
      const share = Math.ceil(((kill + 1) * records) / (kills + 1));
      const life = sender.live(share);
      await life.started;
      if (kill % 10 !== 9)
        await Promise.race([life.done, new Promise((resolve) => setTimeout(resolve, Math.random() * 600))]);
      ledger.killed(sender.lives);
      life.child.kill('SIGKILL');
      await life.ended;
    }
    state.calm = true;
    const last = sender.live(records, '--drain');
    await last.ended;
  } finally {
    await backend.stop();
  }
  let acked = 0;
  const missing: number[] = [];
  for (let n = 0; n < records; n++) {
    if (!sender.acked[n]) continue;
    acked++;
    if (!ledger.seen[n] && !ledger.rejected[n]) missing.push(n);
  }
  const summary = { kills, acked, arrived: ledger.count(), duplicates: ledger.duplicates, answers: counts };
  console.log(`conservation: ${JSON.stringify(summary)}`);
  assert.deepEqual(sender.trouble.slice(0, 10), []);
  assert.deepEqual(missing.slice(0, 10), [], `${missing.length} acknowledged records are missing`);
  assert.deepEqual(ledger.altered.slice(0, 10), []);
  assert.deepEqual(ledger.unexpected.slice(0, 10), [], 'sent again although told');
  assert.equal(sender.offered, records);
  assert.ok(acked > records / 2);
  for (const what of [
    '503',
    '429',
    'outage',
    'partial success',
    'cut after taking',
    'answer cut short',
    'no answer',
    'slow',
    'ok',
  ]) {
    assert.ok(counts[what]! > 0, `no ${what}`);
  }
  const accounts = sender.accounts as {
    offered: number;
    recovered: number;
    sent: number;
    dropped: Record<string, number>;
    queued: number;
  };
  const dropped = Object.values(accounts.dropped).reduce((a, b) => a + b, 0);
  assert.deepEqual([accounts.queued, dropped], [0, 0]);
  assert.equal(accounts.sent, accounts.offered + accounts.recovered);
});

test('SIGTERM with a dead backend ends within the deadline, and what was acknowledged is sent by the next', {
  timeout: 60_000,
}, async () => {
  const size = 20_000;
  const ledger = new Ledger(size);
  const backend = await new Backend().start();
  backend.keep = false;
  backend.reply = () => ({ hang: true });
  const sender = newSender(backend.url, 'dead', size);
  try {
    const life = sender.live(size);
    await life.done;
    life.child.kill('SIGTERM');
    const late = setTimeout(() => life.child.kill('SIGKILL'), 20_000);
    await life.ended;
    clearTimeout(late);
    assert.equal(life.child.signalCode, null, 'it ended by itself');
    assert.deepEqual((sender.accounts as { dropped: object }).dropped, {});
    assert.equal(sender.accounts!['queued'], size);
    backend.reply = ({ body }) => ({ sent: ledger.take(body, 0, sender.lives) });
    await sender.live(size, '--drain').ended;
    assert.equal(ledger.count(), size);
    assert.equal(ledger.duplicates, 0);
  } finally {
    await backend.stop();
  }
});
