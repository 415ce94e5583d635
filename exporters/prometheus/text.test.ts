import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { defineMetrics } from '../../pipeline/catalogue.ts';
import { boundText, writeNumber } from './numbers.ts';
import { metricsBatch, podA, podB, textOf, viewOf } from './testing.ts';
import { chunkBytes, renderText } from './text.ts';

const m = defineMetrics({
  'skoop.test.sent': {
    instrument: 'counter',
    unit: 'By',
    description: 'Bytes sent, "quoted" \\ and\nbroken.',
    source: 'test',
    scope: 'netns',
  },
  'skoop.test.open': {
    instrument: 'updowncounter',
    unit: '{socket}',
    description: 'Open sockets.',
    source: 'test',
    scope: 'netns',
  },
  'skoop.test.wait': {
    instrument: 'histogram',
    unit: 's',
    description: 'Waiting time.',
    source: 'test',
    scope: 'netns',
    histogram: { scale: 0, offset: -2, buckets: 4 },
  },
});

const batch = metricsBatch('test/a', [
  {
    resource: podA,
    series: [
      { metric: m['skoop.test.sent'], attributes: { peer: 'a"b\\c\nd' }, value: 9_007_199_254_740_991 },
      { metric: m['skoop.test.open'], value: 7 },
      { metric: m['skoop.test.wait'], attributes: { op: 'read' }, value: [11, 12.5, 1, 2, 0, 3, 5] },
    ],
  },
]);

const labels = 'k8s_node_name="node-1",k8s_namespace_name="shop",k8s_pod_name="web-1"';

describe('text format 0.0.4', () => {
  it('is exactly this', () => {
    assert.equal(
      textOf(viewOf([batch])),
      [
        '# HELP skoop_test_open Open sockets.',
        '# TYPE skoop_test_open gauge',
        `skoop_test_open{${labels}} 7`,
        '# HELP skoop_test_sent_bytes_total Bytes sent, "quoted" \\\\ and\\nbroken.',
        '# TYPE skoop_test_sent_bytes_total counter',
        `skoop_test_sent_bytes_total{peer="a\\"b\\\\c\\nd",${labels}} 9007199254740991`,
        '# HELP skoop_test_wait_seconds Waiting time.',
        '# TYPE skoop_test_wait_seconds histogram',
        `skoop_test_wait_seconds_bucket{op="read",le="0.25",${labels}} 1`,
        `skoop_test_wait_seconds_bucket{op="read",le="0.5",${labels}} 3`,
        `skoop_test_wait_seconds_bucket{op="read",le="1.0",${labels}} 3`,
        `skoop_test_wait_seconds_bucket{op="read",le="2.0",${labels}} 6`,
        `skoop_test_wait_seconds_bucket{op="read",le="4.0",${labels}} 11`,
        `skoop_test_wait_seconds_bucket{op="read",le="+Inf",${labels}} 11`,
        `skoop_test_wait_seconds_sum{op="read",${labels}} 12.5`,
        `skoop_test_wait_seconds_count{op="read",${labels}} 11`,
        '',
      ].join('\n'),
    );
  });

  it('passes promtool check metrics', (t) => {
    const { status, stderr, error } = spawnSync('promtool', ['check', 'metrics'], { input: textOf(viewOf([batch])) });
    if (error) return t.skip('promtool is not installed (apt-get install prometheus)');
    assert.equal(stderr.toString(), '');
    assert.equal(status, 0);
  });

  it('shows no family of which no series has a value, and no series without one', () => {
    const none = metricsBatch('test/a', [
      { series: [{ metric: m['skoop.test.open'], value: Number.NaN }] },
      { resource: podB, series: [{ metric: m['skoop.test.wait'], value: [Number.NaN, 0, 0, 0, 0, 0, 0] }] },
    ]);
    assert.equal(textOf(viewOf([none])), '');
  });

  it('keeps a family together, whichever sources and shapes it comes from', () => {
    const other = metricsBatch('test/b', [
      {
        resource: podB,
        series: [
          { metric: m['skoop.test.open'], value: 1 },
          { metric: m['skoop.test.sent'], value: 2 },
        ],
      },
    ]);
    const text = textOf(viewOf([batch, other]));
    assert.equal(text.match(/# TYPE skoop_test_open /g)?.length, 1);
    const names = text.split('\n').map((l) => /^skoop_test_(open|sent|wait)/.exec(l)?.[1]);
    const runs = names.filter((n, i) => n !== undefined && n !== names[i - 1]);
    assert.deepEqual(runs, ['open', 'sent', 'wait']);
  });

  it('writes bare names where there are no labels at all', () => {
    const view = viewOf([metricsBatch('a', [{ series: [{ metric: m['skoop.test.open'], value: 3 }] }])], {
      resource_labels: [],
      anonymous_resource_labels: [],
    });
    assert.match(textOf(view), /^skoop_test_open 3$/m);
  });

  it('shows every nth bound of a histogram with too many, with the same counts', () => {
    const text = textOf(viewOf([batch]), 'text', 3);
    assert.deepEqual(
      [...text.matchAll(/_bucket\{op="read",le="([^"]*)",.*\} (\d+)/g)].map((x) => [x[1], x[2]]),
      [
        ['0.25', '1'],
        ['1.0', '3'],
        ['4.0', '11'],
        ['+Inf', '11'],
      ],
    );
  });

  it('never lets a bucket fall below the one before, when the total was read before the buckets', () => {
    const late = metricsBatch('a', [{ series: [{ metric: m['skoop.test.wait'], value: [4, 1, 0, 1, 1, 1, 2] }] }]);
    const text = textOf(viewOf([late]));
    assert.match(text, /le="\+Inf",.*\} 5$/m);
    assert.match(text, /^skoop_test_wait_seconds_count\{.*\} 5$/m);
  });
});

describe('OpenMetrics 1.0', () => {
  it('is exactly this', () => {
    assert.equal(
      textOf(viewOf([batch]), 'openmetrics'),
      [
        '# TYPE skoop_test_open gauge',
        '# HELP skoop_test_open Open sockets.',
        `skoop_test_open{${labels}} 7`,
        '# TYPE skoop_test_sent_bytes counter',
        '# UNIT skoop_test_sent_bytes bytes',
        '# HELP skoop_test_sent_bytes Bytes sent, \\"quoted\\" \\\\ and\\nbroken.',
        `skoop_test_sent_bytes_total{peer="a\\"b\\\\c\\nd",${labels}} 9007199254740991`,
        '# TYPE skoop_test_wait_seconds histogram',
        '# UNIT skoop_test_wait_seconds seconds',
        '# HELP skoop_test_wait_seconds Waiting time.',
        `skoop_test_wait_seconds_bucket{op="read",le="0.25",${labels}} 1`,
        `skoop_test_wait_seconds_bucket{op="read",le="0.5",${labels}} 3`,
        `skoop_test_wait_seconds_bucket{op="read",le="1.0",${labels}} 3`,
        `skoop_test_wait_seconds_bucket{op="read",le="2.0",${labels}} 6`,
        `skoop_test_wait_seconds_bucket{op="read",le="4.0",${labels}} 11`,
        `skoop_test_wait_seconds_bucket{op="read",le="+Inf",${labels}} 11`,
        `skoop_test_wait_seconds_sum{op="read",${labels}} 12.5`,
        `skoop_test_wait_seconds_count{op="read",${labels}} 11`,
        '# EOF',
        '',
      ].join('\n'),
    );
  });

  it('types target_info as an info', () => {
    const text = textOf(viewOf([batch], { target_info: true }), 'openmetrics');
    assert.match(text, /^# TYPE target info$/m);
    assert.match(text, /^target_info\{k8s_node_name="node-1",.*\} 1$/m);
  });

  it('types a counter whose name has no _total as unknown, which keeps its name', () => {
    const mapped = defineMetrics({
      'skoop.test.mapped': {
        instrument: 'counter',
        unit: '{packet}',
        description: 'Mapped.',
        source: 'test',
        scope: 'netns',
        kubeskoop: [{ name: 'kubeskoop_test_mapped' }],
      },
    });
    const view = viewOf([metricsBatch('a', [{ series: [{ metric: mapped['skoop.test.mapped'], value: 5 }] }])], {
      naming: 'kubeskoop',
    });
    assert.match(textOf(view, 'openmetrics'), /^# TYPE kubeskoop_test_mapped unknown$/m);
    assert.match(textOf(view), /^# TYPE kubeskoop_test_mapped counter$/m);
  });
});

describe('chunks', () => {
  it('are bounded, end at line ends, and together are the whole', () => {
    const series = Array.from({ length: 997 }, (_, i) => ({
      metric: m['skoop.test.sent'],
      attributes: { 'network.peer.address': `10.0.${i >> 8}.${i & 255}`, filler: 'x'.repeat(80) },
      value: i,
    }));
    const resources = Array.from({ length: 13 }, (_, i) => ({ attributes: { 'k8s.pod.name': `pod-${i}` } }));
    const view = viewOf([
      metricsBatch(
        'a',
        resources.map((resource) => ({ resource, series })),
      ),
    ]);
    const chunks = [...renderText(view, 'text', Buffer.allocUnsafe, 200)].map((c) => Buffer.from(c));
    assert.ok(chunks.length > 5, `${chunks.length} chunks`);
    for (const c of chunks) {
      assert.ok(c.length <= chunkBytes);
      assert.equal(c.at(-1), 10);
    }
    const lines = Buffer.concat(chunks)
      .toString()
      .split('\n')
      .filter((l) => l.startsWith('skoop'));
    assert.equal(lines.length, 997 * 13);
    assert.equal(new Set(lines).size, 997 * 13);
  });

  it('grow for a histogram that no chunk can hold', () => {
    const wide = defineMetrics({
      'skoop.test.wide': {
        instrument: 'histogram',
        unit: 's',
        description: 'Wide.',
        source: 'test',
        scope: 'netns',
        histogram: { scale: 3, offset: -80, buckets: 160 },
      },
    });
    const value = Array.from({ length: 163 }, () => 1);
    const attributes = { long: 'y'.repeat(3000) };
    const view = viewOf([metricsBatch('a', [{ series: [{ metric: wide['skoop.test.wide'], attributes, value }] }])]);
    const text = textOf(view);
    assert.equal(text.match(/_bucket\{/g)?.length, 162);
    assert.ok(text.length > chunkBytes);
  });
});

describe('numbers', () => {
  const written = (v: number) => {
    const buf = Buffer.alloc(64);
    return buf.toString('latin1', 0, writeNumber(buf, 0, v));
  };

  it('read back as what they were, and are what JavaScript prints', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (v) =>
        assert.equal(Number(written(v).replace('Inf', 'Infinity')), v === 0 ? 0 : v),
      ),
    );
    fc.assert(fc.property(fc.integer(), (v) => assert.equal(written(v), String(v))));
    fc.assert(fc.property(fc.maxSafeInteger(), (v) => assert.equal(written(v), String(v))));
    fc.assert(
      fc.property(fc.nat({ max: 53 }), fc.integer({ min: -2, max: 2 }), (e, d) => {
        const v = 2 ** e + d;
        assert.equal(written(v), String(v));
      }),
    );
    for (let e = 0; e <= 16; e++) for (const d of [-1, 0, 1]) assert.equal(written(10 ** e + d), String(10 ** e + d));
  });

  it('are NaN, +Inf and -Inf as Prometheus spells them', () => {
    assert.equal(written(Number.NaN), 'NaN');
    assert.equal(written(Number.POSITIVE_INFINITY), '+Inf');
    assert.equal(written(Number.NEGATIVE_INFINITY), '-Inf');
  });

  it('as bounds are what Go prints, with .0 on whole numbers', () => {
    const cases: [number, string][] = [
      [1, '1.0'],
      [0.25, '0.25'],
      [2 ** -13, '0.0001220703125'],
      [2 ** -14, '6.103515625e-05'],
      [2 ** -20, '9.5367431640625e-07'],
      [65_536, '65536.0'],
      [1_048_576, '1.048576e+06'],
      [2 ** 70, '1.1805916207174113e+21'],
      [Number.POSITIVE_INFINITY, '+Inf'],
    ];
    for (const [v, expected] of cases) assert.equal(boundText(v), expected);
  });
});
