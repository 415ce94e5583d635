// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references in configs look like that.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { components } from '../components.ts';
import { problemText, readConfig } from '../pipeline/config.ts';
import { dispatch } from './dispatch.ts';

// biome-ignore lint/suspicious/noExplicitAny: a parsed pipeline; the assertions say what it must be.
type Parsed = any;

async function migrate(text: string, ...more: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'skl-migrate-'));
  try {
    const file = join(folder, 'config.yaml');
    writeFileSync(file, text);
    const out: string[] = [];
    const err: string[] = [];
    const io = {
      out: (t: string) => {
        out.push(t);
      },
      err: (t: string) => {
        err.push(t);
      },
      env: {},
      version: '0.0.0',
      registry: components,
    };
    const code = await dispatch(['migrate', file, ...more.map((m) => m.replace('DIR', folder))], io);
    const written = more.length > 0 && code === 0 ? readFileSync(join(folder, 'out.yaml'), 'utf8') : out.join('');
    return {
      code,
      out: out.join(''),
      written,
      notes: err.join('').replaceAll(`${file}: `, '').split('\n').filter(Boolean),
      file,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Converts what must convert, checks that the agent takes it without a warning, and returns it parsed. */
async function converted(config: object): Promise<{ pipeline: Parsed; notes: string[]; text: string }> {
  const { code, out, notes } = await migrate(stringify(config));
  assert.equal(code, 0, notes.join('\n'));
  const result = await readConfig(out, { file: 'p', registry: components, env: {}, strict: true });
  assert.deepEqual(result.problems.map(problemText), []);
  return { pipeline: parse(out), notes, text: out };
}

const probes = (...names: string[]) => names.map((name) => ({ name }));
const metrics = (...names: string[]) => ({ port: 9102, metrics: { probes: probes(...names) } });
const events = (...names: string[]) => ({ port: 1, event: { probes: probes(...names), sinks: probes('stderr') } });
const enabled = (section: Parsed) =>
  Object.entries(section as Record<string, { enabled?: boolean }>)
    .filter(([, v]) => v.enabled !== false)
    .map(([k]) => k);

/** Probes that the agent would load, defaults filled in. */
async function probesOn(text: string): Promise<string[]> {
  const result = await readConfig(text, { file: 'p', registry: components, env: {} });
  assert.ok(result.ok);
  const { probes: all } = result.config.receivers.get('ebpf')!.config as {
    probes: Record<string, { enabled: boolean }>;
  };
  return Object.keys(all).filter((name) => all[name]!.enabled);
}

test("the probes that KubeSkoop's chart has by default", async () => {
  const names = 'conntrack qdisc netdev io sock tcpsummary tcp tcpext udp packetloss flow tcpretrans'.split(' ');
  const { pipeline, notes } = await converted({
    debugMode: false,
    port: 9102,
    metrics: { probes: probes(...names), additionalLabels: [] },
    event: { probes: probes('tcpreset', 'packetloss', 'tcpretrans'), sinks: probes('stderr') },
  });
  assert.deepEqual(notes, []);
  const scrapers = pipeline.receivers.procfs.scrapers;
  assert.deepEqual(Object.keys(scrapers), ['ip', 'softnet', 'fd', 'ipvs', 'icmp', 'psi', 'sched'], 'what is off');
  assert.deepEqual(Object.keys(pipeline.receivers.netlink.scrapers), ['rdma', 'tcp_info', 'neighbour', 'link']);
  assert.deepEqual(enabled(pipeline.receivers.ebpf.probes), ['packetloss', 'tcpreset', 'tcpretrans', 'flow']);
  assert.deepEqual(pipeline.exporters, {
    prometheus: { endpoint: '0.0.0.0:9102', naming: 'kubeskoop' },
    debug: {},
  });
  assert.deepEqual(pipeline.service.pipelines.metrics.receivers, ['procfs', 'netlink', 'ebpf', 'cri']);
  assert.deepEqual(pipeline.service.pipelines.logs.receivers, ['ebpf', 'cri']);
});

const metricNames = [
  ...'conntrack qdisc fd io ipvs netdev tcpext tcp udp ip sock softnet tcpsummary flow packetloss tcpretrans'.split(
    ' ',
  ),
  ...'kernellatency socketlatency netiftxlat softirq virtcmdlatency rdma'.split(' '),
];
const eventNames = [
  ...'tcpreset packetloss tcpretrans kernellatency socketlatency netiftxlat softirq virtcmdlatency biolatency conntrack'.split(
    ' ',
  ),
];

describe('each probe of KubeSkoop, alone', () => {
  for (const name of metricNames) {
    test(`metrics of ${name}`, async () => {
      const { pipeline, notes, text } = await converted(metrics(name));
      assert.deepEqual(notes, []);
      assert.deepEqual(Object.keys(pipeline.service.pipelines), ['metrics']);
      const [receiver] = pipeline.service.pipelines.metrics.receivers;
      const section = pipeline.receivers[receiver];
      assert.deepEqual(Object.keys(pipeline.receivers), [receiver, 'cri']);
      assert.notEqual((section.scrapers ?? section.probes)[name]?.enabled, false);
      if (receiver === 'ebpf') assert.deepEqual(await probesOn(text), [name], 'and no other, by default either');
    });
  }
  for (const name of eventNames) {
    test(`events of ${name}`, async () => {
      const { pipeline, notes } = await converted(events(name));
      assert.deepEqual(notes, []);
      assert.deepEqual(Object.keys(pipeline.service.pipelines), ['logs']);
      assert.equal(pipeline.exporters.prometheus, undefined);
      if (name === 'conntrack') assert.equal(pipeline.receivers.netlink.scrapers.conntrack.events.enabled, true);
      else assert.equal(pipeline.receivers.ebpf.probes[name].events, true);
    });
  }
});

test('a probe for metrics only sends no events', async () => {
  const { pipeline } = await converted({ ...metrics('packetloss', 'tcpretrans'), event: events('tcpretrans').event });
  assert.equal(pipeline.receivers.ebpf.probes.packetloss.events, false);
  assert.equal(pipeline.receivers.ebpf.probes.tcpretrans.events, true);
});

test('netiftxlat measures the driver, too, as KubeSkoop does: kubeskoop_netiftxlat_netdevslow100ms has no other source', async () => {
  const { pipeline } = await converted(metrics('netiftxlat'));
  assert.equal(pipeline.receivers.ebpf.probes.netiftxlat.xmit, true);
});

test('arguments, whatever their case, as mapstructure reads them', async () => {
  const { pipeline, notes } = await converted({
    port: 9102,
    metrics: { probes: [{ name: 'flow', args: { InterfaceName: 'eth*', enableportinlabel: true } }] },
    event: {
      probes: [
        { name: 'packetloss', args: { enableStack: true } },
        { name: 'softirq', args: { 'softirq-types': ['net_rx', 'block'] } },
      ],
      sinks: probes('stderr'),
    },
  });
  assert.deepEqual(notes, []);
  const p = pipeline.receivers.ebpf.probes;
  assert.deepEqual(pipeline.processors.peer, { local: true });
  assert.ok(pipeline.service.pipelines.metrics.processors.includes('peer'));
  assert.deepEqual([p.flow.interface_name, p.flow.enable_port_in_label, p.flow.namespaces], ['eth*', true, 'node']);
  assert.equal(p.packetloss.enable_stack, true);
  assert.deepEqual(p.softirq.types, ['net_rx', 'block']);
});

describe('where to listen', () => {
  const table: readonly (readonly [object, string, RegExp?])[] = [
    [{ port: 9102 }, '0.0.0.0:9102'],
    [{ address: 'tcp://127.0.0.1:9000' }, '127.0.0.1:9000'],
    [{ address: '[::1]:9000' }, '[::1]:9000'],
    [{ address: ':9000' }, ':9000'],
    [{ address: 'unix:///run/ks.sock' }, 'unix:///run/ks.sock'],
    [{ address: '10.0.0.1:9000', port: 9102 }, '10.0.0.1:9000', /^port: Left out: address says where to listen\.$/],
    [{ address: 'unix://relative', port: 7 }, '0.0.0.0:7', /^address: Expected tcp/],
    [{ address: '1.2.3.4' }, '0.0.0.0:9102', /^address: Expected tcp/],
    [{ port: 99_999 }, '0.0.0.0:9102', /^port: Expected a port number, got 99999; left out\.$/],
    [{ port: 'http' }, '0.0.0.0:9102', /^port: Expected a port number, got "http"/],
    [{}, '0.0.0.0:9102', /^address: KubeSkoop does not start without address or port/],
  ];
  for (const [given, wanted, said] of table) {
    test(JSON.stringify(given), async () => {
      const { pipeline, notes } = await converted({ metrics: { probes: probes('tcp') }, ...given });
      assert.equal(pipeline.exporters.prometheus.endpoint, wanted);
      if (said) assert.match(notes[0] ?? '', said);
      else assert.deepEqual(notes, []);
    });
  }
});

test('additional labels are kept for the exporter, and the pod processor keeps the labels they name', async () => {
  const additionalLabels = ['app=${labels:app}', 'who=${labels:app.kubernetes.io/name}-${labels:app}', 'zone=a$b'];
  const { pipeline, notes, text } = await converted({
    port: 1,
    metrics: { probes: probes('tcp'), additionalLabels: additionalLabels.slice(0, 2) },
  });
  assert.deepEqual(notes, []);
  assert.deepEqual(pipeline.processors.pod, { labels: ['app', 'app.kubernetes.io/name'] });
  const read = await readConfig(text, { file: 'p', registry: components, env: {} });
  assert.ok(read.ok);
  const { additional_labels } = read.config.exporters.get('prometheus')!.config as { additional_labels: string[] };
  assert.deepEqual(additional_labels, additionalLabels.slice(0, 2), 'as written, once the environment is resolved');
});

describe('what has no equivalent is said, and the rest goes on', () => {
  const both = { ...metrics('tcp'), ...{ event: events('tcpreset').event } };
  const table: readonly (readonly [string, object, RegExp])[] = [
    ['info', metrics('tcp', 'info'), /kubeskoop_info_pod comes from receivers\.cri/],
    ['sched', metrics('tcp', 'sched'), /only a stub of it/],
    ['a typing error', metrics('tcp', 'tcpxt'), /KubeSkoop has no such probe \(did you mean "tcpext"\?\)/],
    ['metrics of an event probe', metrics('tcp', 'tcpreset'), /KubeSkoop has no metrics of this probe/],
    ['events of a metrics probe', events('tcpreset', 'flow'), /KubeSkoop has no events of this probe/],
    ['a name of the docs', metrics('tcp', 'net_softirq'), /KubeSkoop's own name of it is softirq/],
    ['debugmode', { ...both, debugmode: true }, /^debugmode: KubeSkoop ignores it: its key is debugMode\./],
    ['debugMode that is no boolean', { ...both, debugMode: 'yes' }, /^debugMode: Expected true or false, got "yes"/],
    ['the controller', { ...both, enableController: true }, /^enableController: There is no controller here/],
    ['an unknown key', { ...both, pprof: true }, /^pprof: KubeSkoop has no such key and ignores it\.$/],
    ['a key below metrics', { ...both, metrics: { ...both.metrics, interval: 5 } }, /^metrics\.interval: /],
    ['an entry without a name', { ...both, metrics: { probes: [{ name: 'tcp' }, { nam: 'udp' }] } }, /\[1\]: Expected/],
    [
      'labels without =',
      { ...both, metrics: { ...both.metrics, additionalLabels: ['x'] } },
      /Expected NAME=EXPRESSION/,
    ],
    [
      'a label name that is none',
      { ...both, metrics: { ...both.metrics, additionalLabels: ['a-b=x'] } },
      /got "a-b=x"/,
    ],
    ['probes that are no list', { ...both, metrics: { probes: { tcp: {} } } }, /^metrics\.probes: Expected a list/],
    ['metrics that are no map', { ...both, metrics: [] }, /^metrics: Expected a map/],
  ];
  for (const [what, config, said] of table) {
    test(what, async () => {
      const { notes, text } = await converted(config);
      assert.equal(notes.length, 1, notes.join('\n'));
      assert.match(notes[0]!, said);
      assert.ok(text.includes(`# * ${notes[0]}\n`), 'and in a comment of the result');
    });
  }

  const args = (name: string, given: object) => ({ port: 1, metrics: { probes: [{ name, args: given }] } });
  const wrongArguments: readonly (readonly [object, RegExp])[] = [
    [args('flow', { interfaceName: 7 }), /args\.interfaceName: Expected a string, got 7; left out\.$/],
    [args('flow', { enablePortInLabel: 'true' }), /Expected a boolean, got "true"/],
    [args('tcp', { x: 1 }), /args\.x: KubeSkoop has no such argument and ignores it\.$/],
    [args('softirq', { 'softirq-types': 'net_rx' }), /Expected a list, got "net_rx"/],
    [args('softirq', { 'softirq-types': ['net_rx', 'nett'] }), /There is no soft interrupt "nett"/],
    [args('softirq', { 'softirq-types': [3] }), /There is no soft interrupt 3/],
    [args('packetloss', [1]), /args: Expected a map; left out\.$/],
  ];
  for (const [config, said] of wrongArguments) {
    test(JSON.stringify(config), async () => {
      const { notes } = await converted(config);
      assert.equal(notes.length, 1, notes.join('\n'));
      assert.match(notes[0]!, said);
    });
  }
});

describe('sinks', () => {
  const sinks = (...list: object[]) => ({ port: 1, event: { probes: probes('tcpreset'), sinks: list } });
  const loki = (addr: unknown) => ({ name: 'loki', args: { addr } });

  test('stderr, file and loki, more than one of a kind too', async () => {
    const file = (path: string) => ({ name: 'file', args: { path } });
    const all = [{ name: 'stderr' }, file('/tmp/a$b'), file('/tmp/c'), loki('loki-service')];
    const { pipeline, notes } = await converted(sinks(...all));
    assert.deepEqual(notes, []);
    assert.deepEqual(pipeline.service.pipelines.logs.exporters, ['debug', 'file', 'file/2', 'loki']);
    assert.deepEqual(pipeline.exporters.file, { path: '/tmp/a$$b', format: 'json' });
    assert.deepEqual(pipeline.exporters.loki, {
      endpoint: 'http://loki-service:3100',
      labels: { instance: 'k8s.node.name' },
      static_labels: { job: 'kubeskoop' },
    });
  });

  const addresses: readonly (readonly [unknown, string | undefined])[] = [
    ['10.0.0.7', 'http://10.0.0.7:3100'],
    ['fd00::7', 'http://[fd00::7]:3100'],
    ['http://loki.monitoring:3100', 'http://loki.monitoring:3100'],
    ['https://loki.example.com', 'https://loki.example.com'],
    ['', undefined],
    [undefined, undefined],
    [7, undefined],
    ['ftp://x', undefined],
    ['a b', undefined],
  ];
  for (const [addr, endpoint] of addresses) {
    test(`loki at ${JSON.stringify(addr)}`, async () => {
      const { pipeline, notes } = await converted(sinks({ name: 'stderr' }, loki(addr)));
      assert.equal(pipeline.exporters.loki?.endpoint, endpoint);
      assert.equal(notes.length, endpoint === undefined ? 1 : 0);
    });
  }

  test('none that is left: events go to standard output, and it is said', async () => {
    for (const list of [[], [{ name: 'file' }], [{ name: 'kafka' }]]) {
      const { pipeline, notes } = await converted(sinks(...list));
      assert.deepEqual(pipeline.service.pipelines.logs.exporters, ['debug']);
      assert.match(notes.at(-1)!, /^event\.sinks: No sink is left/);
    }
  });

  test('without an event probe they are left out', async () => {
    const { pipeline, notes } = await converted({ ...metrics('tcp'), event: { sinks: [{ name: 'stderr' }] } });
    assert.deepEqual(Object.keys(pipeline.exporters), ['prometheus']);
    assert.deepEqual(notes, ['event.sinks: Left out: there is no event probe.']);
  });
});

test('a ConfigMap that holds the config is read too', async () => {
  const data = { 'config.yaml': stringify(metrics('tcp')) };
  const { pipeline } = await converted({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data });
  assert.deepEqual(pipeline.service.pipelines.metrics.receivers, ['procfs', 'cri']);
});

test('--out writes the file', async () => {
  const { code, out, written } = await migrate(stringify(metrics('tcp')), '--out', 'DIR/out.yaml');
  assert.deepEqual([code, out], [0, '']);
  assert.match(written, /^# Made by `skoopline migrate` from KubeSkoop's config\.yaml\.\n/);
});

describe('broken input is refused with a reason and exit code 78', () => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['no YAML', 'metrics: [', /config\.yaml:1:\d+ /],
    ['empty', '', /is not a KubeSkoop config: expected a map of keys/],
    ['a list', '- a', /expected a map of keys/],
    ['a pipeline', 'receivers: {}\nexporters: {}', /it has none of debugMode, port/],
    ['a ConfigMap without it', 'kind: ConfigMap\ndata: {x: y}', /is a ConfigMap without config\.yaml/],
    ['a ConfigMap with a broken one', 'kind: ConfigMap\ndata: {config.yaml: "a: ["}', /data\["config\.yaml"\]/],
    ['no probe', 'port: 9102', /switches on no probe that there is here/],
    ['only unknown probes', 'metrics: {probes: [{name: info}]}', /switches on no probe that there is here/],
  ];
  for (const [what, text, said] of table) {
    test(what, async () => {
      const { code, out, notes } = await migrate(text);
      assert.deepEqual([code, out], [78, '']);
      assert.match(notes.join('\n'), said);
    });
  }
  test('no file named', async () => {
    const err: string[] = [];
    const io = {
      out: () => {},
      err: (t: string) => {
        err.push(t);
      },
      env: {},
      version: '0',
      registry: components,
    };
    assert.equal(await dispatch(['migrate'], io), 1);
    assert.match(err.join(''), /name the config of KubeSkoop/);
  });
});
