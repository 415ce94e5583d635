import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fakeNetns } from '../../host/netns/fake-proc.ts';
import { makeSchema } from '../../pipeline/batch.ts';
import { parseHexNumbers, parseNumber, parseNumbers } from './lines.ts';
import { icmpTable } from './metrics-icmp.ts';
import { softnetMetrics } from './metrics-net.ts';
import { tcpTable } from './metrics-tcp.ts';
import { tcpextTable } from './metrics-tcpext.ts';
import { MibFile, MibTarget, Snmp6File } from './mib.ts';
import { InterfaceCounters, matcher, NetdevFile } from './netdev.ts';
import { OwnerState, Owners } from './owners.ts';
import { podDirectory, processGroups } from './pods.ts';
import { parseOpenFilesLimit, parseParentPid } from './process-files.ts';
import { SoftnetFile } from './softnet.ts';

const all = () => true;
const none = () => assert.fail('nothing is wrong with it');

describe('numbers', () => {
  it('decimal, negative, hexadecimal; anything else is refused', () => {
    const into = new Float64Array(4);
    assert.equal(parseNumbers(Buffer.from(' 1  -1\t23 '), 0, 10, into), 3);
    assert.deepEqual([...into.subarray(0, 3)], [1, -1, 23]);
    for (const bad of ['1x', '-', '1-2', '0x1', '1.5', 'é']) {
      const text = Buffer.from(bad);
      assert.equal(parseNumbers(text, 0, text.length, into), -1, bad);
    }
    assert.equal(parseNumbers(Buffer.from('1 2 3 4 5 6'), 0, 11, into), 6, 'counts also what does not fit');
    assert.equal(parseHexNumbers(Buffer.from('fF 10'), 0, 5, into), 2);
    assert.deepEqual([...into.subarray(0, 2)], [255, 16]);
    assert.equal(parseNumber(Buffer.from('18446744073709551615'), 0, 20), 2 ** 64);
    assert.equal(parseNumber(Buffer.from(''), 0, 0), -1);
  });
});

describe('net/snmp and net/netstat', () => {
  const value = (target: MibTarget, name: string) => {
    const series = target.series.schema.series.find((s) => s.metric.name === name);
    return series && target.values[series.offset];
  };

  it('follows a header that changes between two files', () => {
    const target = new MibTarget([tcpTable], all);
    const file = new MibFile(new Map([['Tcp', target]]), none);
    file.parse(Buffer.from('Tcp: InSegs OutSegs\nTcp: 23 7\n'));
    assert.deepEqual([value(target, 'skoop.tcp.in_segs'), value(target, 'skoop.tcp.out_segs')], [23, 7]);
    file.parse(Buffer.from('Tcp: OutSegs RetransSegs InSegs\nTcp: 11 13 17\n'));
    assert.deepEqual([value(target, 'skoop.tcp.in_segs'), value(target, 'skoop.tcp.out_segs')], [17, 11]);
    assert.equal(value(target, 'skoop.tcp.retrans_segs'), 13);
  });

  it('takes a field of a later kernel under its own name when asked to, and not otherwise', () => {
    const text = Buffer.from('TcpExt: ListenDrops TCPFromTheFuture\nTcpExt: 23 7\n');
    const quiet = new MibTarget([tcpextTable], (m) => m.enabled);
    new MibFile(new Map([['TcpExt', quiet]]), none).parse(text);
    assert.ok(!quiet.series.schema.series.some((s) => s.metric.name.endsWith('unlisted')));
    const open = new MibTarget([tcpextTable], all);
    const file = new MibFile(new Map([['TcpExt', open]]), none, open);
    file.parse(text);
    assert.ok(open.series.version > open.values.length, 'the caller sees that there is no room for it yet');
    open.values = open.series.blank();
    file.parse(text);
    const unlisted = open.series.schema.series.find((s) => s.metric.name === 'skoop.tcpext.unlisted');
    assert.deepEqual(unlisted?.attributes, { 'skoop.mib.field': 'TcpExt.TCPFromTheFuture' });
    assert.equal(open.values[unlisted?.offset as number], 7);
  });

  it('at most 128 unknown fields make series', () => {
    const target = new MibTarget([tcpextTable], all);
    const listed = target.series.version;
    const names = Array.from({ length: 300 }, (_, i) => `New${i}`);
    const text = `TcpExt: ${names.join(' ')}\nTcpExt: ${names.map(() => 1).join(' ')}\n`;
    new MibFile(new Map([['TcpExt', target]]), none).parse(Buffer.from(text));
    assert.equal(target.series.version, listed + 128);
  });

  it('net/snmp6: the order of the lines may change', () => {
    const target = new MibTarget([icmpTable], all);
    const file = new Snmp6File(new Map([['Icmp6', target]]), none);
    const lines = ['Icmp6InMsgs\t23\n', 'Icmp6InType3 \t5\n', 'Icmp6OutMsgs\t7\n'];
    file.parse(Buffer.from(lines.join('')));
    target.values = target.series.blank();
    file.parse(Buffer.from([lines[2], lines[0]].join('')));
    assert.deepEqual([value(target, 'skoop.icmp.in_msgs'), value(target, 'skoop.icmp.out_msgs')].filter(Boolean), []);
    const at = (name: string) =>
      target.series.schema.series.find((s) => s.metric.name === name && s.attributes['network.type'] === 'ipv6');
    assert.equal(target.values[at('skoop.icmp.in_msgs')?.offset as number], 23);
    assert.equal(target.values[at('skoop.icmp.out_msgs')?.offset as number], 7);
  });
});

describe('net/softnet_stat', () => {
  const line = (cpu: number, processed: number, backlog = 0) => {
    const columns = new Array<number>(13).fill(0);
    columns[0] = processed;
    columns[11] = backlog;
    columns[12] = cpu;
    return `${columns.map((c) => (c >>> 0).toString(16).padStart(8, '0')).join(' ')}\n`;
  };
  const slot = (file: SoftnetFile, name: keyof typeof softnetMetrics) =>
    file.series.schema.series.findIndex((s) => s.metric === softnetMetrics[name]);

  it('goes on where 32 bits end, and keeps the share of a CPU that is switched off', () => {
    const file = new SoftnetFile(all, false, none);
    const processed = slot(file, 'skoop.softnet.processed');
    const backlog = slot(file, 'skoop.softnet.backlog_len');
    const read = (text: string) => file.parse(Buffer.from(text));
    assert.equal(read(line(0, 2 ** 32 - 10) + line(2, 100, 7))[processed], 2 ** 32 + 90);
    const wrapped = read(line(0, 13) + line(2, 100, 7));
    assert.equal(wrapped[processed], 2 ** 32 + 113);
    assert.equal(wrapped[backlog], 7);
    const off = read(line(0, 14));
    assert.equal(off[processed], 2 ** 32 + 114);
    assert.equal(off[backlog], 0);
    assert.equal(read(line(0, 14) + line(2, 101))[processed], 2 ** 32 + 115);
  });

  it('what an older kernel does not print is absent', () => {
    const file = new SoftnetFile(all, false, none);
    const values = file.parse(Buffer.from(`${'00000001 '.repeat(10)}00000001\n`));
    assert.ok(Number.isNaN(values[slot(file, 'skoop.softnet.backlog_len')]));
    assert.equal(values[slot(file, 'skoop.softnet.flow_limit')], 1);
  });
});

describe('beginnings', () => {
  const schema = makeSchema(tcpTable.metrics.slice(0, 5).map((metric) => ({ metric })));
  const values = (...v: number[]) => Float64Array.from(v);

  it('a counter that falls begins anew at the last time it was seen; a gauge may fall', () => {
    const state = new OwnerState({ netns: 7 }, 1000);
    const start = (timeMs: number, ...v: number[]) => {
      const snapshot = state.snapshot('tcp', schema, values(...v), timeMs);
      state.endRound(timeMs);
      return snapshot?.startTimeMs;
    };
    assert.equal(start(5000, 1, 2, 3, 4, 9), 1000);
    assert.equal(start(6000, 1, 2, 3, 4, 5), 1000);
    assert.equal(start(7000, 0, 2, 3, 4, 5), 6000);
    assert.equal(start(8000, 1, 2, 3, 4, 5), 6000);
  });

  it('what turns up later began after the last round', () => {
    const state = new OwnerState(undefined, 1000);
    state.endRound(5000);
    assert.equal(state.snapshot('netdev eth1', schema, values(1, 1, 1, 1, 1), 6000)?.startTimeMs, 5000);
    assert.equal(state.snapshot('nothing', schema, values(Number.NaN), 6000), undefined);
  });

  it('an inode number that is used again is another owner', () => {
    const owners = new Owners<number>();
    const make = (mark: number) => () => new OwnerState({ netns: 7 }, mark, mark);
    const first = owners.get(7, 1, make(1));
    owners.endRound(1);
    assert.equal(owners.get(7, 1, make(1)), first);
    owners.endRound(2);
    assert.notEqual(owners.get(7, 3, make(3)), first);
    owners.endRound(3);
    owners.endRound(4);
    assert.equal(owners.size, 0);
  });
});

describe('interfaces', () => {
  const header = 'Inter-|   Receive |  Transmit\n face |bytes packets|bytes packets\n';

  it('go on counting when they are made anew, each for itself', () => {
    const file = new NetdevFile(all, 8, none);
    const counters = new InterfaceCounters();
    const read = (...lines: string[]) => {
      const found = file.parse(Buffer.from(`${header}${lines.map((l) => `${l}\n`).join('')}`), all, counters);
      file.endRound();
      return found;
    };
    const first = read('eth0: 100 10 200 20', 'wg0: 7 1 5 1');
    assert.deepEqual([...(first?.values ?? [])], [100, 10, 200, 20, 7, 1, 5, 1]);
    const second = read('eth0: 101 11 200 20', 'wg0: 2 1 3 1');
    assert.deepEqual([...(second?.values ?? [])], [101, 11, 200, 20, 9, 1, 8, 1]);
    assert.equal(second?.schema, first?.schema);
    const gone = read('eth0: 102 11 200 20');
    assert.deepEqual([...(gone?.values ?? [])], [102, 11, 200, 20]);
    assert.deepEqual([...(read('eth0: 102 11 200 20', 'wg0: 1 0 0 0')?.values ?? [])], [102, 11, 200, 20, 10, 1, 8, 1]);
  });

  it('at most as many as are allowed; names that come and go are forgotten', () => {
    let tooMany = 0;
    const file = new NetdevFile(all, 2, () => tooMany++);
    const counters = new InterfaceCounters();
    const read = (...names: string[]) =>
      file.parse(Buffer.from(`${header}${names.map((n) => `${n}: 1 1 1 1\n`).join('')}`), all, counters);
    assert.equal(read('a', 'b', 'c')?.values.length, 8);
    assert.equal(tooMany, 1);
    for (let i = 0; i < 600; i++) assert.equal(read(`veth${i}`)?.values[0], 1);
    assert.equal(read()?.values, undefined);
  });

  it('patterns: * is anything, the rest is itself', () => {
    const test = matcher(['veth*', 'eth0.100', '*-host']);
    assert.deepEqual(['veth1', 'veth', 'eth0.100', 'eth0x100', 'p-host', 'aveth1'].map(test), [
      true,
      true,
      true,
      false,
      true,
      false,
    ]);
    assert.equal(matcher([])('lo'), false);
  });
});

describe('processes and pods', () => {
  it('the parent of a process with a strange name', () => {
    assert.equal(parseParentPid(Buffer.from('7 (a) b) c) S 23 7 7 0')), 23);
    assert.equal(parseParentPid(Buffer.from('7 (a')), undefined);
  });

  it('limits', () => {
    const line = (soft: string) => Buffer.from(`Max open files            ${soft}                 4096  files     \n`);
    assert.equal(parseOpenFilesLimit(line('1024')), 1024);
    assert.equal(parseOpenFilesLimit(line('unlimited')), Number.POSITIVE_INFINITY);
    assert.equal(parseOpenFilesLimit(Buffer.from('Max processes 1\n')), undefined);
  });

  it('the directory of a pod, of both drivers; not what leads out of this cgroup namespace', () => {
    const uid = '11111111-2222-4333-8444-555555555555';
    const slice = `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`;
    assert.equal(podDirectory(`${slice}/cri-containerd-${'a'.repeat(64)}.scope`, uid), slice);
    assert.equal(podDirectory(`/kubepods/pod${uid}/${'a'.repeat(64)}`, uid), `/kubepods/pod${uid}`);
    assert.equal(podDirectory(`/../../kubepods/pod${uid}`, uid), undefined);
    assert.equal(podDirectory('/system.slice/x.service', uid), undefined);
  });

  it('a hostNetwork pod is told by its UID alone, and the node is who is left', () => {
    const info = (netns: number, host: boolean, ...pids: number[]) => fakeNetns(netns, { host, pids });
    const process = (pid: number, netns: number) => ({ pid, starttime: 1, netns, kernelThread: pid === 2 });
    const pods = new Map([
      ['own', [process(10, 7)]],
      ['host', [process(20, 1)]],
    ]);
    const namespaces = [info(1, true, 1, 2, 20), info(7, false, 10)];
    const groups = processGroups(pods, namespaces, (pid) => (pid === 2 ? process(2, 1) : undefined));
    assert.deepEqual(groups.at(-1)?.processes, [{ pid: 1 }, process(2, 1)], 'with what the scan knows');
    assert.deepEqual(
      groups.map((g) => [g.owner, g.processes.map((p) => p.pid)]),
      [
        [{ netns: 7, podUid: 'own' }, [10]],
        [{ podUid: 'host' }, [20]],
        [undefined, [1, 2]],
      ],
    );
  });
});
