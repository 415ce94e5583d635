// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to the environment look like that.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { readDocument, toPlain } from './config/document.ts';
import { configKeys, withDefaults } from './config/keys.ts';
import { type AgentConfig, problemText, readConfig } from './config.ts';
import { registry } from './testing/registry.ts';

const broken = new URL('./testdata/broken/', import.meta.url);
/** What the fixtures find in the environment. */
const env = { TEST_SECRET: 's3cret', TEST_NUMBER: '0123' };

const files = readdirSync(broken).filter((f) => f.endsWith('.yaml'));

test('there are at least 40 broken configs', () => assert.ok(files.length >= 40));

for (const file of files) {
  test(`${file} is told with every problem and its place`, async () => {
    const result = await readConfig(readFileSync(new URL(file, broken), 'utf8'), { file, registry, env });
    const expected = readFileSync(new URL(file.replace('.yaml', '.expected'), broken), 'utf8');
    assert.equal(`${result.problems.map(problemText).join('\n')}\n`, expected);
    assert.equal(result.ok, !expected.split('\n').some((line) => line !== '' && !line.includes(' warning: ')));
    assert.ok(!expected.includes(env.TEST_SECRET));
  });
}

test('warnings are errors when strict', async () => {
  const text = readFileSync(new URL('unused.yaml', broken), 'utf8');
  assert.equal((await readConfig(text, { file: 'f', registry, env })).ok, true);
  const strict = await readConfig(text, { file: 'f', registry, env, strict: true });
  assert.equal(strict.ok, false);
  assert.equal(strict.problems.length, 3);
});

const whole = `
receivers:
  ebpf:
  ebpf/second: &base
    probes: [tcpreset]
    limit: \${env:LIMIT}
    collection_interval: 1m30s
  ebpf/third:
    <<: *base
    limit: 7
processors: { batch: {} }
exporters:
  otlp:
    endpoint: http://\${env:HOST:-localhost}:4318
    password: \${env:PASSWORD}
    auth:
service:
  node_name: \${env:NODE:-}
  pipelines:
    metrics/a: { receivers: [ebpf, ebpf/second, ebpf/third], processors: [batch], exporters: [otlp] }
    logs: { receivers: [ebpf], exporters: [otlp] }
`;

async function good(text: string, environment: Record<string, string> = {}): Promise<AgentConfig> {
  const result = await readConfig(text, { file: 'f', registry, env: environment });
  assert.ok(result.ok, result.problems.map(problemText).join('\n'));
  return result.config;
}

test('a whole config: defaults, names, aliases, merges, environment', async () => {
  const config = await good(whole, { LIMIT: '42', PASSWORD: '0123' });
  const ebpf = (id: string) => config.receivers.get(id)!.config as Record<string, unknown>;
  assert.deepEqual(ebpf('ebpf'), {
    probes: ['packetloss'],
    collection_interval: 15_000,
    ring_buffer: 4 * 1024 * 1024,
    limit: 100,
    enabled: true,
    thresholds: { warn: 1, crit: 2 },
    labels: {},
  });
  assert.equal(ebpf('ebpf/second')['limit'], 42);
  assert.equal(ebpf('ebpf/second')['collection_interval'], 90_000);
  assert.equal(ebpf('ebpf/third')['limit'], 7);
  assert.deepEqual(ebpf('ebpf/third')['probes'], ['tcpreset']);
  const otlp = config.exporters.get('otlp')!.config as Record<string, unknown>;
  assert.equal(otlp['endpoint'], 'http://localhost:4318');
  assert.equal(otlp['password'], '0123', 'text stays text where text is wanted, whatever it looks like');
  assert.deepEqual(config.pipelines, [
    {
      id: 'metrics/a',
      signal: 'metrics',
      receivers: ['ebpf', 'ebpf/second', 'ebpf/third'],
      processors: ['batch'],
      exporters: ['otlp'],
    },
    { id: 'logs', signal: 'logs', receivers: ['ebpf'], processors: [], exporters: ['otlp'] },
  ]);
  const { node_name, ...service } = config.service;
  assert.equal(node_name, undefined);
  assert.deepEqual(service, {
    shutdown_timeout: 10_000,
    telemetry: { metrics: { address: 'localhost:8888', level: 'normal' }, logs: { level: 'info' } },
    health: { address: 'localhost:13133' },
  });
});

test('what is shown of a config holds references as written, defaults as a user writes them', async () => {
  const config = await good(whole, { LIMIT: '42', PASSWORD: 'hunter2' });
  const { declaration, written } = config.exporters.get('otlp')!;
  const shown = withDefaults(declaration.config, written) as Record<string, unknown>;
  assert.equal(shown['password'], '${env:PASSWORD}');
  assert.equal(shown['compression'], 'gzip');
  assert.equal((shown['retry_on_failure'] as Record<string, unknown>)['initial_interval'], '1s');
  assert.ok(!JSON.stringify(shown).includes('hunter2'));
  assert.deepEqual(
    configKeys(declaration.config).find((k) => k.path === 'sending_queue.storage'),
    {
      path: 'sending_queue.storage',
      type: 'memory | disk',
      default: 'memory',
      description: 'Where batches wait; disk survives kill -9.',
    },
  );
});

test('the hash tells what differs and not how it is written', async () => {
  const a = await good(
    'receivers: {ebpf: {limit: 5, enabled: true}}\nexporters: {prometheus: {}}\nservice: {pipelines: {metrics: {receivers: [ebpf], exporters: [prometheus]}}}',
  );
  const b = await good(
    '# Same.\nexporters:\n  prometheus: {}\nreceivers: {ebpf: {enabled: true, limit: 5}}\nservice: {pipelines: {metrics: {exporters: [prometheus], receivers: [ebpf]}}}',
  );
  const c = await good(
    'receivers: {ebpf: {limit: 6, enabled: true}}\nexporters: {prometheus: {}}\nservice: {pipelines: {metrics: {receivers: [ebpf], exporters: [prometheus]}}}',
  );
  assert.match(a.hash, /^[0-9a-f]{64}$/);
  assert.equal(a.hash, b.hash);
  assert.notEqual(a.hash, c.hash);
});

test('scalars from the environment', () => {
  const value = (text: string, environment: Record<string, string | undefined> = {}) => {
    const { root, problems } = readDocument(`a: ${text}`, environment);
    assert.deepEqual(problems, []);
    return (toPlain(root!) as { a: unknown }).a;
  };
  assert.equal(value('${env:N}', { N: '17' }), 17);
  assert.equal(value('${env:N}', { N: '0x10' }), 16);
  assert.equal(value('${env:N}', { N: '1e3' }), 1000);
  assert.equal(value('${env:N}', { N: 'true' }), true);
  assert.equal(value('${env:N}', { N: '' }), undefined);
  assert.equal(value('${env:N:-5}'), 5);
  assert.equal(value('${env:N:-5}', { N: '' }), undefined, 'empty is set, as in the Collector');
  assert.equal(value('${env:N:-}'), undefined);
  assert.equal(value('"${env:N}"', { N: '17' }), '17');
  assert.equal(value("'${env:N}'", { N: 'true' }), 'true');
  assert.equal(value('!!str ${env:N}', { N: '17' }), '17');
  assert.equal(value('x${env:N}y', { N: '1' }), 'x1y');
  assert.equal(value('${env:A:-${env:B:-deep}}'), 'deep');
  assert.equal(value('${env:A:-${env:B}}', { B: '3' }), 3);
  assert.equal(value('a$$b'), 'a$b');
  assert.equal(value('$${env:N}'), '${env:N}');
  assert.equal(value('cost: $5'.slice(6)), '$5');
  assert.equal(value('${env:N}', { N: '[1, 2]: {}' }), '[1, 2]: {}', 'a value is never read as YAML structure');
  assert.equal(value('${env:N}', { N: '${env:M}' }), '${env:M}', 'nor as a reference');
});

test('aliases are bounded and a later anchor of the same name rules', () => {
  const { root } = readDocument('a: &x 1\nb: *x\nc: &x 2\nd: *x\n', {});
  assert.deepEqual(toPlain(root!), { a: 1, b: 1, c: 2, d: 2 });
  const bomb = readFileSync(new URL('alias-bomb.yaml', broken), 'utf8');
  assert.equal(readDocument(bomb, {}).root, undefined);
});

test('no text makes the reader throw', async () => {
  const words = fc.constantFrom(
    'receivers:',
    'exporters:',
    'service:',
    'pipelines:',
    'metrics:',
    '  ',
    '    ',
    '\n',
    '- ',
    '{',
    '}',
    '[',
    ']',
    ': ',
    '&a ',
    '*a',
    '<<: ',
    '${env:',
    '}',
    '$$',
    '"',
    "'",
    '|',
    '>',
    '#',
    '? ',
    '!!str ',
    'ebpf',
    'otlp',
    'limit',
    '5',
    'null',
    '\t',
    '---\n',
    '%YAML 1.2\n',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(words, { maxLength: 40 }), async (parts) => {
      const result = await readConfig(parts.join(''), { file: 'f', registry, env: {} });
      if (!result.ok) assert.ok(result.problems.length > 0);
      for (const p of result.problems) assert.ok(p.line >= 1 && p.col >= 1);
    }),
    { numRuns: 500 },
  );
});
