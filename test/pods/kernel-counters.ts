/**
 * What the kernel says of a pod, read past the agent and with other code: the oracle of this lane. Paths are of the form
 * `pod.proc('net/snmp')`.
 */
import { readFileSync } from 'node:fs';
import type { Pod } from '../bed/bed.ts';

/** Counters by `Row.Field`, as the kernel spells them: `Tcp.ActiveOpens`, `TcpExt.ListenDrops`. */
export type Counters = ReadonlyMap<string, number>;

/** net/snmp and net/netstat: pairs of lines, names above values. */
function pairs(text: string): [string, number][] {
  const lines = text.trimEnd().split('\n');
  const out: [string, number][] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [row, ...names] = lines[i]!.split(' ');
    const [, ...values] = lines[i + 1]!.split(' ');
    names.forEach((name, n) => {
      out.push([`${row!.slice(0, -1)}.${name}`, Number(values[n])]);
    });
  }
  return out;
}

/** `Tcp`, `Udp`, `Ip`, `Icmp`, `TcpExt`, `IpExt` and so on of a pod. */
export function mibOf(pod: Pod): Counters {
  return new Map(['net/snmp', 'net/netstat'].flatMap((file) => pairs(readFileSync(pod.proc(file), 'utf8'))));
}

/** Interfaces but `lo`: name → the 16 numbers of its line in net/dev. */
export function interfacesOf(pod: Pod): ReadonlyMap<string, readonly number[]> {
  const out = new Map<string, number[]>();
  for (const line of readFileSync(pod.proc('net/dev'), 'utf8').split('\n').slice(2)) {
    const [name, numbers] = line.split(':', 2);
    if (numbers && name!.trim() !== 'lo') out.set(name!.trim(), numbers.trim().split(/\s+/).map(Number));
  }
  return out;
}

/** Column of net/dev by KubeSkoop's name for it. */
export const netdevColumns = {
  rxbytes: 0,
  rxpackets: 1,
  rxerrors: 2,
  rxdropped: 3,
  txbytes: 8,
  txpackets: 9,
  txerrors: 10,
  txdropped: 11,
} as const;

/** net/sockstat as `TCP.inuse` → number. */
export function socketsOf(pod: Pod): Counters {
  const out = new Map<string, number>();
  for (const line of readFileSync(pod.proc('net/sockstat'), 'utf8').trimEnd().split('\n')) {
    const [row, ...fields] = line.split(' ');
    for (let i = 0; i + 1 < fields.length; i += 2) out.set(`${row!.slice(0, -1)}.${fields[i]}`, Number(fields[i + 1]));
  }
  return out;
}
