import { type Attributes, defineMetrics, type KubeskoopName, type MetricDefinition } from '../../pipeline/catalogue.ts';

/**
 * The counters of net/snmp, net/snmp6 and net/netstat are one table in the kernel's MIBs (RFC 4293, 4022, 4113) and one table here: a
 * line names the kernel's fields that feed one metric, for IPv4 and IPv6 side by side.
 */

/** `Row.Field` of net/snmp or net/netstat (`Tcp.RetransSegs`), or of net/snmp6 with its prefix as row (`Ip6.InReceives`). */
export type MibFieldName = `${string}.${string}`;

/** `k`: on, and KubeSkoop has it. `on`: on by default. `off`: redundant, rarely wanted, or a constant. */
export type Default = 'k' | 'on' | 'off';

export interface FieldOptions {
  /** Default: counter. */
  readonly instrument?: 'gauge' | 'updowncounter';
  /** Kernel's number × scale = the metric's unit. KubeSkoop prints the kernel's number. */
  readonly scale?: number;
}

/** Last part of the metric's name, kernel fields, unit, default, description. */
export type MibLine = readonly [
  name: string,
  fields: readonly [MibFieldName, ...MibFieldName[]],
  unit: string,
  on: Default,
  description: string,
  options?: FieldOptions,
];

export interface MibEntry {
  readonly metric: MetricDefinition;
  readonly scale: number;
  /** Kernel field → attributes of its series. */
  readonly fields: ReadonlyMap<string, Attributes>;
}

export interface MibTable {
  readonly entries: readonly MibEntry[];
  /** Takes the fields of these rows that have no line here. */
  readonly unlisted: MetricDefinition;
  readonly metrics: readonly MetricDefinition[];
}

const ipv4: Attributes = Object.freeze({ 'network.type': 'ipv4' });
const ipv6: Attributes = Object.freeze({ 'network.type': 'ipv6' });

export const networkType = { description: 'IP version.', values: ['ipv4', 'ipv6'] };

/** Rows of net/snmp6 have a 6 in their name (`Ip6`, `Icmp6`, `Udp6`, `UdpLite6`). */
function typeOf(field: MibFieldName): Attributes {
  return field.slice(0, field.indexOf('.')).endsWith('6') ? ipv6 : ipv4;
}

function fileOf(field: MibFieldName): string {
  const row = field.slice(0, field.indexOf('.'));
  if (row.endsWith('6')) return 'net/snmp6';
  return row.endsWith('Ext') ? 'net/netstat' : 'net/snmp';
}

function kubeskoopOf(area: string, line: MibLine, byType: boolean): readonly KubeskoopName[] {
  const [, [field], , , , options] = line;
  const kernel = field.slice(field.indexOf('.') + 1).toLowerCase();
  const base: KubeskoopName = { name: `kubeskoop_${area}_${kernel}`, type: 'gauge' };
  return [{ ...base, ...(byType && { where: ipv4 }), ...(options?.scale && { scale: 1 / options.scale }) }];
}

/**
 * Declares the metrics of one area.
 *
 * @param area last part of `skoop.<area>.…` and KubeSkoop's subsystem.
 * @param byType whether series carry `network.type`: where the kernel counts both IP versions in one number, they do not.
 */
export function mibTable(area: string, byType: boolean, lines: readonly MibLine[]): MibTable {
  const attributes = byType ? { 'network.type': networkType } : {};
  const entries = lines.map((line): MibEntry => {
    const [name, fields, unit, on, description, options = {}] = line;
    const full = `skoop.${area}.${name}`;
    const metric = defineMetrics({
      [full]: {
        instrument: options.instrument ?? 'counter',
        unit,
        description,
        attributes,
        source: fields.map((f) => `${fileOf(f)} ${f.replace('.', ' ')}`).join(', '),
        scope: 'netns',
        maxSeries: fields.length,
        enabled: on !== 'off',
        ...(on === 'k' && { kubeskoop: kubeskoopOf(area, line, byType) }),
      },
    })[full] as MetricDefinition;
    return {
      metric,
      scale: options.scale ?? 1,
      fields: new Map(fields.map((f) => [f, byType ? typeOf(f) : Object.freeze({})])),
    };
  });
  const unlisted = unlistedMetric(area);
  return { entries, unlisted, metrics: [...entries.map((e) => e.metric), unlisted] };
}

/** Most fields of one area that may turn up without a line in its table. */
export const maxUnlisted = 128;

/** Attribute of `skoop.<area>.unlisted`: the kernel's row and field. */
export const unlistedKey = 'skoop.mib.field';

function unlistedMetric(area: string): MetricDefinition {
  const name = `skoop.${area}.unlisted`;
  return defineMetrics({
    [name]: {
      instrument: 'counter',
      unit: '{event}',
      description: 'Fields that this kernel prints and this version of skoopline has no metric for.',
      attributes: { [unlistedKey]: { description: 'Row and field as the kernel prints them: TcpExt.TCPAOGood.' } },
      source: 'net/snmp, net/snmp6, net/netstat',
      scope: 'netns',
      maxSeries: maxUnlisted,
      enabled: false,
      stability: 'development',
    },
  })[name] as MetricDefinition;
}
