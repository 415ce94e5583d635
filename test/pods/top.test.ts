/** `skoopline top` in a real terminal beside real pods: a fault is made, and found with the keyboard alone. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { startTerminal, type Terminal } from '../bed/tmux.ts';

const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';
const main = `${import.meta.dirname}/../../cli/main.ts`;
const top = `${process.execPath} --disable-warning=ExperimentalWarning ${main} top`;

/** What it prints with `--json`, as far as the tests read it. */
interface Printed {
  readonly node: { readonly name: string; readonly recent: Record<string, number> };
  readonly pods: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly trouble: number;
    readonly worst?: { readonly quantity: string; readonly count: number; readonly label?: string };
    readonly recent: Record<string, number>;
  }[];
}

describe('skoopline top', { skip: noBtf }, () => {
  let bed: Bed;
  let web: Pod;
  let client: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    web = await bed.runPod({ name: 'web-0', namespace: 'shop', command: ['httpd', '-f', '-p', '80', '-h', '/www'] });
    client = await bed.runPod({ name: 'cli-0', namespace: 'shop' });
    await bed.runPod({ name: 'calm-0', namespace: 'data' });
    const rules = [
      'add table ip skl',
      'add chain ip skl in { type filter hook input priority 0; }',
      'add rule ip skl in udp dport 5353 drop',
    ];
    assert.equal((await web.inNetns(['nft', rules.join('; ')])).code, 0);
    // Refused connections in a namespace of nobody, until the node ends: a count is shown once its probe has counted somewhere.
    const refused = 'ip link set lo up; while sleep 0.3; do echo > /dev/tcp/127.0.0.1/9; done';
    void bed.node.run(['unshare', '--net', 'bash', '-c', refused], { timeoutMs: 600_000 });
  });
  after(() => bed?.stop());

  const drop = async (n: number) => {
    const send = `for i in $(seq ${n}); do echo hi > /dev/udp/${web.ip}/5353; done`;
    assert.equal((await client.inNetns(['bash', '-c', send])).code, 0);
  };
  /** Rows below a title, as far as they go. */
  const below = (text: string, title: RegExp) => {
    const rows = text.split('\n');
    return rows.slice(rows.findIndex((row) => title.test(row)) + 1);
  };
  const start = async (argv = '', options: Parameters<typeof startTerminal>[2] = {}): Promise<Terminal> => {
    const terminal = await startTerminal(
      bed.node,
      `stty -a > /run/before; echo before; ${top} ${argv}; echo exit=$?; stty -a > /run/after`,
      options,
    );
    await terminal.until(
      'the pods and the probes',
      (t) => /shop\/web-0 +0 +0 /.test(t) && /DROPS BY REASON/.test(t),
      90_000,
    );
    return terminal;
  };

  test('23 datagrams dropped in a pod put it on top; its page says why; the terminal is given back', async () => {
    const terminal = await start();
    await drop(23);
    const list = await terminal.until('the drops', (t) => /shop\/web-0 +23 /.test(t));
    const [first = ''] = below(list, /TROUBLE/);
    assert.match(first, /^ +\d+ shop\/web-0 +23 +0 .* NETFILTER_DROP 23 *$/);
    assert.match(list, /skoopline top +node-a/);
    assert.match(list, /3 pods, 1 in trouble/);
    assert.match(list, /^ +23 NETFILTER_DROP .*web-0/m);
    await terminal.until('the events', (t) => /EVENTS/.test(t) && /\d PACKETLOSS pod=web-0 namespace=shop/.test(t));

    await terminal.press('Enter');
    const page = await terminal.until("the pod's page", (t) => /packets dropped +\S+ +23 /.test(t));
    assert.match(page, new RegExp(`^ shop/web-0 +ready +${web.ip}  NETFILTER_DROP 23`, 'm'));
    assert.match(page, /NETFILTER_DROP +23 +23/);
    assert.match(page, /listens on \S+:80 +queue 0\//);
    await terminal.press('Escape');
    await terminal.until('the list', (t) => /TROUBLE/.test(t));

    await terminal.press('/');
    await terminal.type('tcpreset pod=cli-0');
    await terminal.press('Enter');
    await terminal.until('no such event', (t) => /EVENTS with tcpreset pod=cli-0\n none that fits/.test(t));
    await client.exec(['sh', '-c', `for i in $(seq 7); do wget -qO /dev/null http://${web.ip}:81/; done; exit 0`]);
    const filtered = await terminal.until(
      'the resets',
      (t) => below(t, /EVENTS with/).filter((r) => /pod=cli-0/.test(r)).length >= 7,
    );
    const events = below(filtered, /EVENTS with/).filter((row) => /pod=/.test(row));
    assert.equal(events.length, 7);
    for (const row of events) assert.match(row, /TCPRESET_RECEIVE pod=cli-0/);

    await terminal.press('?');
    await terminal.until('the help', (t) => /4 × packets dropped/.test(t));
    await terminal.press('q');
    const end = await terminal.until('the end', (t) => /exit=\d/.test(t), 60_000);
    assert.match(end, /^before$[\s\S]*^exit=0$/m, 'the terminal as it was');
    assert.doesNotMatch(end, /TROUBLE|KEYS/, 'and nothing of the picture');
    assert.equal(await terminal.ask('#{alternate_on} #{cursor_flag} #{wrap_flag}'), '0 1 1');
    const settings = async (file: string) => (await bed.node.run(['cat', file])).stdout;
    assert.equal(await settings('/run/after'), await settings('/run/before'), 'stty says the same as before');
    await terminal.close();
  });

  test('a terminal that becomes small and wide again keeps a whole picture', async () => {
    const terminal = await start('', { columns: 200, rows: 55 });
    assert.match(await terminal.text(), /TX B\/s/);
    await terminal.resize(60, 16);
    const small = await terminal.until(
      'the small picture',
      (t) => !/TX B\/s/.test(t) && /TROUBLE/.test(t) && /q quit/.test(t),
    );
    assert.ok(small.split('\n').every((row) => row.length <= 60));
    assert.match(small, /shop\/web-0/);
    await terminal.resize(200, 55);
    await terminal.until('the wide picture', (t) => /TX B\/s/.test(t));
    await terminal.press('q');
    await terminal.until('the end', (t) => /exit=0/.test(t), 60_000);
    await terminal.close();
  });

  test('a crash gives the terminal back too', async () => {
    const terminal = await start();
    await terminal.press('p');
    await terminal.until('the pause', (t) => /PAUSED/.test(t));
    const { stdout } = await bed.node.run(['pgrep', '-f', 'main.ts top']);
    // The inspector is how an exception gets into a process from outside.
    const pid = stdout.trim().split('\n').at(-1)!;
    assert.equal((await bed.node.run([process.execPath, '-e', crash, pid])).code, 0);
    const end = await terminal.until('the end', (t) => /exit=1/.test(t), 60_000);
    assert.match(end, /^before\n/m);
    assert.match(end.replaceAll('\n', ''), /A defect of skoopline/, 'what happened is told on the terminal as it was');
    assert.equal(await terminal.ask('#{alternate_on} #{cursor_flag}'), '0 1');
    await terminal.close();
  });

  test('piped it prints a table with the fault in it, and as JSON the exact number', async () => {
    const file = '/run/top.json';
    const running = bed.node.run(['sh', '-c', `exec timeout 120 ${top} --json > ${file}`], { timeoutMs: 150_000 });
    const printed = async () => {
      const { stdout } = await bed.node.run(['tail', '-n', '1', file]);
      return JSON.parse(stdout) as Printed;
    };
    const counts = async () => (await printed()).pods.some((p) => p.name === 'web-0' && p.recent['drops'] === 0);
    await waitFor('the probes to count', counts, { timeoutMs: 90_000, everyMs: 500 });
    await drop(7);
    const seen = await waitFor('the drops', async () => {
      const line = await printed();
      return line.pods.some((p) => p.name === 'web-0' && p.recent['drops'] === 7) && line;
    });
    const pod = seen.pods.find((p) => p.name === 'web-0')!;
    assert.deepEqual(pod.worst, { quantity: 'drops', count: 7, label: 'NETFILTER_DROP', labelCount: 7 });
    assert.equal(pod.trouble, 4 * Math.log2(8));
    assert.equal(seen.node.name, 'node-a');
    assert.equal(seen.pods.find((p) => p.name === 'calm-0')!.trouble, 0);
    await bed.node.run(['pkill', '-INT', '-n', '-f', 'main.ts top --json']);
    assert.equal((await running).code, 0);

    const table = await bed.node.run(['sh', '-c', `${top} --once`], { timeoutMs: 90_000 });
    assert.equal(table.code, 0);
    assert.match(table.stdout, /^ +TROUBLE POD +DROPS +RESETS/m);
    assert.match(table.stdout, /^ +0 shop\/web-0 +[0-] /m);
    assert.doesNotMatch(table.stdout, /\u001b/);
  });
});

/** Opens the inspector of process argv[1] and throws in it. */
const crash = `
process._debugProcess(Number(process.argv[1]));
const go = async () => {
  const [{ webSocketDebuggerUrl }] = await (await fetch('http://127.0.0.1:9229/json')).json();
  const socket = new WebSocket(webSocketDebuggerUrl);
  socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: {
    expression: "setTimeout(() => { throw new Error('made by a test'); }, 1)" } }));
  socket.onmessage = () => process.exit(0);
};
const again = () => go().catch(() => setTimeout(again, 200));
again();`;
