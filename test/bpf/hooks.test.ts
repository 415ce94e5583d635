import assert from 'node:assert/strict';
import { release } from 'node:os';
import { test } from 'node:test';
import { systemClock } from '../../pipeline/clock.ts';
import { testContext } from '../../pipeline/testing.ts';
import receiver from '../../receivers/ebpf/index.ts';
import { probes } from '../../receivers/ebpf/probes.ts';

interface Hook {
  readonly hook: string;
  readonly sections?: readonly string[];
}

test('every object loads and attaches on this kernel, by the best hook it has; the table says which', async (t) => {
  const all = Object.fromEntries(probes.map((p) => [p.name, { enabled: true }]));
  const context = { ...testContext({ id: 'ebpf' }), clock: systemClock };
  const findings = await receiver.diagnose!(receiver.config.parse({ probes: all }), context, { seconds: 0 });
  const width = Math.max(...probes.map((p) => p.name.length));
  t.diagnostic(`probe × hooks on Linux ${release()}`);
  for (const { name } of probes) {
    const finding = findings.find((f) => f.subject === `probe ${name}`);
    assert.ok(finding, `nothing was said of ${name}`);
    const hooks = (finding.data as { hooks?: readonly Hook[] } | undefined)?.hooks;
    const row =
      hooks?.map((h) => `${h.hook}: ${h.sections?.join(' + ') ?? 'off'}`).join(', ') ?? `off: ${finding.text}`;
    t.diagnostic(`${name.padEnd(width)} | ${row}`);
    // The one probe that no tracepoint can serve.
    const mayBeOff = name === 'virtcmdlatency' && /without kprobes|has no function/.test(finding.text);
    assert.ok(hooks !== undefined || mayBeOff, `${name} is off: ${finding.text}`);
  }
});
