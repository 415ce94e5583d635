import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { Agent } from './agent.ts';
import { itemCount } from './batch.ts';
import { readConfig } from './config.ts';
import { makeParts, points } from './testing/parts.ts';

const good = `# A comment.
receivers:
  source: {}
  source/two: {}
processors:
  stage: {}
exporters:
  sink:
    mark: here
service:
  node_name: \${env:NODE:-node-7}
  telemetry: { metrics: { address: 'localhost:0' } }
  health: { address: 'localhost:0' }
  pipelines:
    metrics:
      receivers: [source, source/two]
      processors: [stage]
      exporters: [sink]
`;

/** Numbers from a seed (mulberry32), so that a failure can be run again. */
function randoms(seed: number): (below: number) => number {
  let a = seed;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const garbage = [
  '{',
  ']',
  ': :',
  '\t',
  '&x *x',
  '*nobody',
  `\${env:UNSET_X}`,
  '${',
  '!!binary',
  '- -',
  '"',
  '\u0000',
  'nul: [',
  '<<: 1',
  '%YAML 9',
];

/** One mistake somewhere: what a hand, a template or a torn write makes of a file. */
function spoil(text: string, random: (below: number) => number): string {
  const lines = text.split('\n');
  const at = random(text.length);
  switch (random(7)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + text.slice(at + 1 + random(9));
    case 2:
      return text.slice(0, at) + garbage[random(garbage.length)] + text.slice(at);
    case 3:
      return lines.toSpliced(random(lines.length), 1).join('\n');
    case 4:
      return lines.toSpliced(random(lines.length), 0, lines[random(lines.length)]!).join('\n');
    case 5: {
      const [i, j] = [random(lines.length), random(lines.length)];
      return lines.with(i, lines[j]!).with(j, lines[i]!).join('\n');
    }
    default:
      return text.slice(0, at) + String.fromCharCode(random(0x250)) + text.slice(at + 1);
  }
}

test('a thousand broken configs thrown at a running agent leave no gap in what it observes', async () => {
  const parts = makeParts();
  const dir = mkdtempSync(join(tmpdir(), 'skl-spoiled-'));
  const file = join(dir, 'pipeline.yaml');
  writeFileSync(file, good);
  const log = pino({ level: 'silent' });
  const agent = await Agent.load({ file, registry: parts.registry, log, version: '1.2.3', env: {} });
  await agent.start();
  const seed = Date.now() | 0;
  const random = randoms(seed);
  try {
    const graph = agent.engine.graph;
    parts.events.length = 0;
    let thrown = 0;
    let emitted = 0;
    while (thrown < 1000) {
      const text = spoil(good, random);
      const verdict = await readConfig(text, { file, registry: parts.registry, env: {} });
      // What is no mistake (a comment torn, a line doubled in a harmless place) is a new config, and not meant here.
      if (verdict.ok) continue;
      assert.ok(verdict.problems.length > 0 && verdict.problems.every((p) => p.line >= 1 && p.message !== ''));
      writeFileSync(file, text);
      assert.equal(await agent.reload(), false, `seed ${seed}: taken:\n${text}`);
      thrown++;
      emitted += 3;
      parts.emit(thrown % 2 === 0 ? 'source' : 'source/two', points(3));
    }
    assert.equal(agent.engine.graph, graph, 'the same graph runs');
    assert.deepEqual(parts.events, [], 'nothing was made, subscribed or stopped');
    const arrived = () => parts.pushed('sink').reduce((n, b) => n + itemCount(b), 0);
    while (arrived() < emitted) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(arrived(), emitted);
    writeFileSync(file, good);
    assert.equal(await agent.reload(), true, 'and a good one is taken again');
  } finally {
    await agent.stop(AbortSignal.abort());
    rmSync(dir, { recursive: true });
  }
});
