import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advice, adviceFor } from './advice.ts';
import { eventAdvice } from './advice-more.ts';
import { probes } from './probes.ts';

test('every event that may carry advice has some, whatever its attributes say', () => {
  for (const event of probes.flatMap((p) => p.events)) {
    if (event.attributes['skoop.advice.cause'] === undefined) continue;
    const types = event.kubeskoopTypes ?? [];
    const missing = types.filter((t) => !adviceFor({ 'kubeskoop.type': t }, event.name));
    assert.deepEqual(missing, [], event.name);
    if (types.length === 0) assert.ok(adviceFor({}, event.name), event.name);
  }
});

test('a name is the last thing asked for; advice is in sentences', () => {
  const name = 'skoop.dns.failed';
  assert.match(adviceFor({ 'error.type': 'SERVFAIL' }, name)?.cause ?? '', /upstream/);
  assert.match(adviceFor({ 'error.type': 'RCODE15' }, name)?.cause ?? '', /error/);
  assert.equal(adviceFor({ 'error.type': 'RCODE15' }), undefined);
  for (const table of [...Object.values(advice), eventAdvice]) {
    for (const [key, { cause, check }] of Object.entries(table)) {
      assert.match(cause, /^[A-Z0-9].*[.?]$/, key);
      assert.match(check, /[.?]$/, key);
    }
  }
});
