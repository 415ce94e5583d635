import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { registry } from '../pipeline/testing/registry.ts';
import type { CommandIo } from './command.ts';
import { commands } from './commands.ts';
import { dispatch } from './dispatch.ts';

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'skl-cli-'));
  return {
    file(text: string, name = 'pipeline.yaml') {
      writeFileSync(join(path, name), text);
      return join(path, name);
    },
    path,
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  };
}

async function cli(...argv: string[]) {
  const io = { out: '', err: '' };
  const commandIo: CommandIo = {
    out: (text) => {
      io.out += text;
    },
    err: (text) => {
      io.err += text;
    },
    env: { TOKEN: 'hunter2' },
    version: '1.2.3',
    registry: {
      ...registry,
      receivers: { ebpf: registry.receivers['ebpf']!, journal: registry.receivers['journal']! },
    },
  };
  const code = await dispatch(argv, commandIo);
  return { code, ...io };
}

const good = `
receivers: { ebpf: {} }
exporters: { otlp: { endpoint: 'http://c:4318', password: '\${env:TOKEN}' } }
service: { pipelines: { metrics: { receivers: [ebpf], exporters: [otlp] } } }
`;

test('without a command, and with a wrong one, it says what there is', async () => {
  const bare = await cli();
  assert.equal(bare.code, 1);
  for (const name of Object.keys(commands)) assert.match(bare.err, new RegExp(`^  ${name} `, 'm'));
  const wrong = await cli('vaildate');
  assert.deepEqual(
    [wrong.code, wrong.err],
    [1, `skoopline: there is no command 'vaildate' (did you mean "validate"?). See skoopline help.\n`],
  );
  assert.equal((await cli('constructor')).code, 1);
  assert.equal((await cli('help')).code, 0);
  assert.equal((await cli('help', 'nothing')).code, 1);
});

for (const name of Object.keys(commands)) {
  test(`help of ${name} fits the screen and names every option`, async () => {
    const { code, out } = await cli('help', name);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: skoopline ${name}`));
    for (const line of out.split('\n')) assert.ok(line.length <= 100, line);
    assert.equal((await cli(name, '--help')).out, out);
    const { command } = await commands[name]!.load();
    for (const option of Object.keys(command.options)) assert.ok(out.includes(`--${option}`));
  });
}

test('a wrong option or argument is named', async () => {
  const wrong = await cli('validate', '--confg', 'x');
  assert.equal(wrong.code, 1);
  assert.match(
    wrong.err,
    /^skoopline validate: Unknown option '--confg' \(did you mean "config"\?\)\. See skoopline help validate\.\n$/,
  );
  assert.match((await cli('version', 'now')).err, /unexpected argument 'now'/);
  assert.match(
    (await cli('run', '--log-level', 'loud')).err,
    /--log-level takes debug, info, warn or error, not 'loud'/,
  );
});

test('validate: 0 when good, 78 with every problem when not', async () => {
  using dir = folder();
  const file = dir.file(good);
  assert.deepEqual(await cli('validate', file), { code: 0, out: `${file}: good, 1 pipeline, 2 components\n`, err: '' });
  const bad = dir.file(good.replace('ebpf: {}', 'ebpf: { probs: [] }'), 'bad.yaml');
  assert.deepEqual(await cli('validate', '--config', bad), {
    code: 78,
    out: '',
    err: `${bad}:2:22 receivers.ebpf.probs: unknown key (did you mean "probes"?)\n`,
  });
  const idle = dir.file(good.replace('ebpf: {}', 'ebpf: {}, ebpf/idle: {}'), 'idle.yaml');
  assert.equal((await cli('validate', idle)).code, 0);
  assert.equal((await cli('validate', '--strict', idle)).code, 78);
  const missing = await cli('validate', join(dir.path, 'none.yaml'));
  assert.equal(missing.code, 78);
  assert.match(
    missing.err,
    /^skoopline validate: Cannot read the config .*none\.yaml: there is no such file\.\nName one with --config FILE\.\n$/,
  );
});

test('print-config fills in defaults as a user writes them, keeps references, and is itself a good config', async () => {
  using dir = folder();
  const { code, out } = await cli('print-config', '-c', dir.file(good));
  assert.equal(code, 0);
  const shown = parse(out);
  assert.equal(shown.receivers.ebpf.collection_interval, '15s');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference to the environment looks like that.
  assert.equal(shown.exporters.otlp.password, '${env:TOKEN}');
  assert.equal(shown.exporters.otlp.sending_queue.queue_bytes, '64MiB');
  assert.equal(shown.service.shutdown_timeout, '10s');
  assert.deepEqual(shown.service.pipelines.metrics, { receivers: ['ebpf'], processors: [], exporters: ['otlp'] });
  assert.ok(!out.includes('hunter2'));
  const again = dir.file(out, 'again.yaml');
  assert.equal((await cli('validate', again)).code, 0);
  assert.equal((await cli('print-config', '-c', again)).out, out, 'a second time changes nothing');
});

test('print-config --defaults explains every key of a component', async () => {
  const { code, out } = await cli('print-config', '--defaults', 'otlp');
  assert.equal(code, 0);
  assert.match(out, /^exporters:\n {2}# Test exporter\.\n {2}otlp:\n/);
  assert.match(out, /^ {4}# Where to\.\n {4}# endpoint: {3}\(string, required\)$/m);
  assert.match(out, /^ {6}# Where batches wait; disk survives kill -9\.\n {6}storage: memory$/m);
  assert.equal(parse(out).exporters.otlp.compression, 'gzip');
  assert.match((await cli('print-config', '--defaults', 'oltp')).err, /did you mean "otlp"/);
});

test('components lists all, and in JSON with their keys', async () => {
  const { code, out } = await cli('components');
  assert.equal(code, 0);
  assert.match(out, /^receivers:\n {2}ebpf {8}development {2}Test receiver\.$/m);
  const json = JSON.parse((await cli('components', '--json')).out);
  assert.deepEqual(
    json.map((c: { type: string }) => c.type),
    ['ebpf', 'journal', 'batch', 'otlp', 'prometheus'],
  );
  assert.ok(json[0].config.some((k: { path: string }) => k.path === 'thresholds.warn'));
});

// --- the real program ---

function program(...argv: string[]) {
  const child = spawn(process.execPath, [new URL('./main.ts', import.meta.url).pathname, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NAME: 'node-9' },
  });
  const io = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (t: string) => {
    io.out += t;
  });
  child.stderr.setEncoding('utf8').on('data', (t: string) => {
    io.err += t;
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal })),
  );
  return {
    child,
    io,
    ended,
    async line(message: string): Promise<Record<string, unknown>> {
      for (;;) {
        const found = io.err.split('\n').find((l) => l.includes(`"msg":"${message}"`));
        if (found) return JSON.parse(found);
        if (child.exitCode !== null) throw new Error(`It ended with ${child.exitCode}: ${io.err}`);
        await new Promise((r) => setTimeout(r, 10));
      }
    },
    [Symbol.dispose]: () => killed(child),
  };
}

function killed(child: ChildProcess): void {
  if (child.exitCode === null) child.kill('SIGKILL');
}

const real = (extra = '') => `
receivers: { cri: { collection_interval: 1s } }
processors: { netns: {} }
exporters: { prometheus: { endpoint: '127.0.0.1:0' } }
service:
  telemetry: { metrics: { address: 'localhost:0' } }
  health: { address: 'localhost:0' }
${extra}
  pipelines:
    metrics: { receivers: [cri], processors: [netns], exporters: [prometheus] }
`;

test('run: starts, reports, reloads on SIGHUP, drains on SIGTERM and exits with 0', async () => {
  using dir = folder();
  const file = dir.file(real());
  using run = program('run', '--config', file);
  const { metrics, health } = await run.line('Running.');
  const ready = (await (await fetch(`http://${health}/readyz`)).json()) as { components: unknown[]; status: string };
  assert.equal(ready.components.length, 3);
  const graph = (await (await fetch(`http://${health}/pipeline`)).json()) as { edges: { from: string; to: string }[] };
  assert.deepEqual(
    graph.edges.map(({ from, to }) => `${from} → ${to}`),
    ['receiver cri → processor netns in metrics', 'processor netns in metrics → exporter prometheus'],
  );
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  assert.match(text, /^target_info\{.*k8s_node_name="node-9"\} 1$/m);

  dir.file(real('  shutdown_timeout: 5s'));
  run.child.kill('SIGHUP');
  const reloaded = await run.line('The new config runs.');
  assert.deepEqual([reloaded['replaced'], reloaded['kept']], [[], 3]);

  dir.file(real('  shutdown_time: 5s'));
  run.child.kill('SIGHUP');
  const refused = await run.line('The new config is not taken; what ran before runs on.');
  assert.deepEqual(refused['problems'], [
    `${file}:8:3 service.shutdown_time: unknown key (did you mean "shutdown_timeout"?)`,
  ]);
  assert.equal((await fetch(`http://${health}/readyz`)).status, 200);

  run.child.kill('SIGTERM');
  assert.deepEqual(await run.ended, { code: 0, signal: null });
  await run.line('Stopped.').catch(() => assert.match(run.io.err, /"msg":"Stopped\."/));
});

test('run: refuses a bad config with 78 and every problem, and a taken port with 1 and one sentence', async () => {
  using dir = folder();
  using bad = program('run', '-c', dir.file(real('  nodename: x\n  foo: 1')));
  assert.equal((await bad.ended).code, 78);
  assert.match(
    bad.io.err,
    /:8:3 service\.nodename: unknown key \(did you mean "node_name"\?\)\n.*:9:3 service\.foo: unknown key\n.* has 2 errors\.\n$/,
  );

  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  using busy = program(
    'run',
    '-c',
    dir.file(real().replace("health: { address: 'localhost:0' }", `health: { address: '127.0.0.1:${port}' }`)),
  );
  assert.equal((await busy.ended).code, 1);
  taken.close();
  assert.equal(
    busy.io.err,
    `skoopline run: Cannot serve health on 127.0.0.1:${port}: the address is in use.
Choose another address, or stop what listens there.
`,
  );
});

test('run: a stop is bounded by its deadline, and a second signal ends it at once', async () => {
  using dir = folder();
  const sockets = new Set<Socket>();
  const deaf = createServer((socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
  const { port } = deaf.address() as { port: number };
  const sending = (timeout: string) => `
receivers: { procfs: { collection_interval: 1s } }
exporters: { otlp: { endpoint: 'http://127.0.0.1:${port}' } }
service:
  shutdown_timeout: ${timeout}
  telemetry: { metrics: { level: none } }
  health: { address: 'localhost:0' }
  pipelines:
    metrics: { receivers: [procfs], exporters: [otlp] }
`;
  const busy = async (run: ReturnType<typeof program>) => {
    sockets.clear();
    await run.line('Running.');
    while (sockets.size === 0) await new Promise((r) => setTimeout(r, 10));
  };
  using patient = program('run', '-c', dir.file(sending('200ms')));
  await busy(patient);
  patient.child.kill('SIGINT');
  assert.deepEqual(await patient.ended, { code: 0, signal: null });

  using told = program('run', '-c', dir.file(sending('10m')));
  await busy(told);
  told.child.kill('SIGTERM');
  await told.line('Stopping.');
  told.child.kill('SIGTERM');
  assert.deepEqual(await told.ended, { code: 1, signal: null });
  assert.match(told.io.err, /"msg":"Told twice: exiting without sending what is queued\."/);
  for (const socket of sockets) socket.destroy();
  deaf.close();
});
