import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IpvsSummary, parseIpvs, parseIpvsStats } from './ipvs.ts';
import type { RejectReason } from './lines.ts';
import { icmpTable } from './metrics-icmp.ts';
import { ipTable } from './metrics-ip.ts';
import { mptcpTable } from './metrics-mptcp.ts';
import { tcpTable } from './metrics-tcp.ts';
import { tcpextTable } from './metrics-tcpext.ts';
import { udpliteTable, udpTable } from './metrics-udp.ts';
import { MibFile, MibTarget, Snmp6File } from './mib.ts';
import { InterfaceCounters, NetdevFile } from './netdev.ts';
import {
  parseIo,
  parseKeyed,
  parseNumberFile,
  parseOpenFilesLimit,
  parseParentPid,
  parsePressure,
  parseRunDelayNs,
} from './process-files.ts';
import { SockFiles } from './sock.ts';
import { SoftnetFile } from './softnet.ts';

/** Every parser under one shape: takes a file, tells the values it would emit (finite numbers only), counts what it does not use. */
interface Parser {
  readonly captures: readonly Buffer[];
  parse(text: Buffer): { values: number[]; rejected: Record<string, number> };
}

const testdata = join(import.meta.dirname, 'testdata');
const capture = (name: string) => readFileSync(join(testdata, name));
const all = () => true;

function rejects() {
  const rejected: Record<string, number> = {};
  const reject = (reason: RejectReason) => {
    rejected[reason] = (rejected[reason] ?? 0) + 1;
  };
  return { rejected, reject };
}

function mibParser(kind: 'pairs' | 'lines', captures: readonly Buffer[]): Parser {
  return {
    captures,
    parse(text) {
      const { rejected, reject } = rejects();
      const tables = [tcpTable, udpTable, udpliteTable, ipTable, icmpTable, tcpextTable, mptcpTable];
      const target = new MibTarget(tables, all);
      const rows = new Map([...target.rows()].map((row) => [row, target]));
      const file = kind === 'pairs' ? new MibFile(rows, reject, target) : new Snmp6File(rows, reject);
      target.values = target.series.blank();
      file.parse(text);
      return { values: [...target.values].filter((v) => !Number.isNaN(v)), rejected };
    },
  };
}

const parsers: Readonly<Record<string, Parser>> = {
  'net/snmp': mibParser('pairs', [capture('snmp'), capture('snmp.pod')]),
  'net/netstat': mibParser('pairs', [capture('netstat')]),
  'net/snmp6': mibParser('lines', [capture('snmp6')]),
  'net/dev': {
    captures: [capture('dev')],
    parse(text) {
      const { rejected, reject } = rejects();
      const found = new NetdevFile(all, 100, reject).parse(text, all, new InterfaceCounters());
      return { values: [...(found?.values ?? [])], rejected };
    },
  },
  'net/sockstat': {
    captures: [capture('sockstat'), capture('sockstat6')],
    parse(text) {
      const { rejected, reject } = rejects();
      const files = new SockFiles(all, 4096, reject);
      const [netns, node] = [files.netns.series.blank(), files.node.series.blank()];
      files.parse(text, netns, node);
      return { values: [...netns, ...node].filter((v) => !Number.isNaN(v)), rejected };
    },
  },
  'net/softnet_stat': {
    captures: [capture('softnet_stat')],
    parse(text) {
      const { rejected, reject } = rejects();
      const file = new SoftnetFile(all, true, reject);
      return { values: [...file.parse(text)].filter((v) => !Number.isNaN(v)), rejected };
    },
  },
  'net/ip_vs': {
    captures: [capture('ip_vs')],
    parse(text) {
      const { rejected, reject } = rejects();
      const summary = new IpvsSummary(3);
      parseIpvs(text, reject, summary);
      const { services, destinations, restActive } = summary.end();
      return { values: [services, destinations, restActive], rejected };
    },
  },
  'net/ip_vs_stats': {
    captures: [capture('ip_vs_stats')],
    parse(text) {
      const { rejected, reject } = rejects();
      const totals = parseIpvsStats(text, reject);
      return { values: totals ? Object.values(totals) : [], rejected };
    },
  },
  '/proc/PID/io': {
    captures: [capture('io')],
    parse(text) {
      const { rejected, reject } = rejects();
      return { values: Object.values(parseIo(text, reject) ?? {}), rejected };
    },
  },
  'cpu.stat': {
    captures: [capture('cpu.stat')],
    parse(text) {
      const { rejected, reject } = rejects();
      return { values: [...parseKeyed(text, reject).values()], rejected };
    },
  },
  'cpu.pressure': {
    captures: [capture('cpu.pressure')],
    parse(text) {
      const { rejected, reject } = rejects();
      return { values: Object.values(parsePressure(text, reject)), rejected };
    },
  },
  'limits, stat, schedstat, cpuacct.usage': {
    captures: [capture('limits'), capture('stat'), capture('schedstat')],
    parse(text) {
      const found = [parseOpenFilesLimit(text), parseParentPid(text), parseRunDelayNs(text), parseNumberFile(text)];
      return { values: found.filter((v) => v !== undefined && Number.isFinite(v)) as number[], rejected: {} };
    },
  },
};

const sum = (rejected: Record<string, number>) => Object.values(rejected).reduce((a, b) => a + b, 0);

describe('every parser', () => {
  it('has a capture in testdata, and every capture a parser', () => {
    const used = Object.values(parsers).flatMap((p) => p.captures.map((c) => c.toString('latin1')));
    for (const name of readdirSync(testdata)) {
      if (name !== 'expected') assert.ok(used.includes(capture(name).toString('latin1')), name);
    }
  });

  for (const [name, parser] of Object.entries(parsers)) {
    it(`${name}: takes whole captures without a rejection`, () => {
      for (const text of parser.captures) {
        const { values, rejected } = parser.parse(text);
        assert.deepEqual(rejected, {});
        assert.ok(values.length > 0);
      }
    });

    it(`${name}: cut at every byte, it gives numbers of the whole file only, and counts the cut`, () => {
      for (const text of parser.captures) {
        const whole = new Set(parser.parse(text).values);
        for (let cut = 0; cut < text.length; cut++) {
          const { values, rejected } = parser.parse(text.subarray(0, cut));
          const lines = ['net/ip_vs'].includes(name) ? [] : values;
          for (const v of lines) assert.ok(whole.has(v), `${v} at cut ${cut} is in no whole file`);
          if (cut > 0 && text[cut - 1] !== 0x0a && !name.startsWith('limits'))
            assert.ok(sum(rejected) > 0, `cut ${cut}`);
        }
      }
    });

    it(`${name}: each line left out, doubled or swapped with the next`, () => {
      for (const text of parser.captures) {
        const lines = text.toString('latin1').split('\n').slice(0, -1);
        for (let i = 0; i < lines.length; i++) {
          const variants = [
            [...lines.slice(0, i), ...lines.slice(i + 1)],
            [...lines.slice(0, i + 1), ...lines.slice(i)],
            [...lines.slice(0, i), lines[i + 1] ?? '', lines[i] as string, ...lines.slice(i + 2)],
          ];
          for (const v of variants) parser.parse(Buffer.from(`${v.join('\n')}\n`, 'latin1'));
        }
      }
    });

    it(`${name}: any bytes`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
          for (const v of parser.parse(Buffer.from(bytes)).values) assert.equal(typeof v, 'number');
        }),
        { numRuns: 200 },
      );
    });

    it(`${name}: a capture with bytes changed`, () => {
      const [text] = parser.captures as [Buffer];
      const change = fc.tuple(fc.nat(text.length - 1), fc.integer({ min: 0, max: 255 }));
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
          const bytes = Buffer.from(text);
          for (const [at, byte] of changes) bytes[at] = byte;
          for (const v of parser.parse(bytes).values) assert.ok(!Number.isNaN(v));
        }),
        { numRuns: 200 },
      );
    });
  }
});
