/** The benches of `make bench`, what each needs, and the figures of each that have an aim. Longest run of all together: a quarter of an hour. */

export type Need = 'root' | 'gcc' | 'containerd' | 'bpf';

/** One figure found in a bench's output. */
export interface Figure {
  readonly what: string;
  /** As printed; undefined when the output holds no such line (then the bench or the pattern is wrong). */
  readonly value: number | undefined;
  readonly unit: string;
  readonly aim: string;
  readonly met: boolean;
}

export interface Bench {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly args?: readonly string[];
  readonly limitSeconds: number;
  readonly aims: readonly { look(text: string): Figure }[];
}

/** @param pattern its first group is the number; the last match counts. */
function aim(what: string, pattern: RegExp, unit: string, compare: '<' | '≤' | '≥', bound: number) {
  return {
    look(text: string): Figure {
      const found = [...text.matchAll(new RegExp(pattern, 'gm'))].at(-1)?.[1];
      const value = found === undefined ? undefined : Number(found);
      const met =
        value !== undefined && (compare === '<' ? value < bound : compare === '≤' ? value <= bound : value >= bound);
      return { what, value, unit, aim: `${compare} ${bound}${unit === '×' ? '' : ` ${unit}`}`.trim(), met };
    },
  };
}

/** A column of a row of the table after a title, in bench/scrape.ts. */
const scrapeRow = (row: string, column: number) =>
  new RegExp(`^Plain text[\\s\\S]*?^\\| ${row} \\|${'[^|]*\\|'.repeat(column)} ([\\d.]+)`);

const needsPods = ['root', 'containerd', 'bpf'] as const;

export const benches: readonly Bench[] = [
  {
    name: 'scrape',
    needs: [],
    limitSeconds: 300,
    aims: [
      aim('100 000 series: first byte', scrapeRow('ours', 1), 'ms', '<', 5),
      aim('100 000 series: event loop held', scrapeRow('ours', 3), 'ms', '<', 10),
      aim('time less than exporter-prometheus', scrapeRow('serializer', 7), '×', '≥', 10),
      aim('time less than prom-client', scrapeRow('prom-client', 7), '×', '≥', 10),
      aim('time less than node_exporter’s textfile', scrapeRow('node_exporter textfile', 7), '×', '≥', 10),
    ],
  },
  {
    name: 'collect',
    needs: ['root', 'gcc'],
    limitSeconds: 120,
    aims: [
      aim(
        '250 namespaces, files of net/: CPU against the C floor',
        /^250 namespaces.*?CPU.*?ratio ([\d.]+)/,
        '×',
        '≤',
        2,
      ),
      aim('a whole collection: CPU against the C floor', /^one whole collection.*?CPU.*?ratio ([\d.]+)/, '×', '≤', 2),
      aim('tcpsummary, 10 000 sockets: CPU against C', /^tcpsummary.*?CPU.*?ratio ([\d.]+)/, '×', '≤', 1.2),
    ],
  },
  {
    name: 'idle',
    needs: needsPods,
    args: ['--settle', '45'],
    limitSeconds: 360,
    aims: [
      aim('default pipeline, 50 pods, idle', /^idle CPU ([\d.]+)/, '% of a core', '<', 0.5),
      aim('its resident memory', /resident ([\d.]+) MiB/, 'MiB', '<', 120),
    ],
  },
  {
    name: 'pods-scrape',
    needs: needsPods,
    limitSeconds: 240,
    aims: [
      aim('a scrape of 50 pods: time less than KubeSkoop', /^\| a scrape.*\| ([\d.]+) \| ≥/, '×', '≥', 10),
      aim('a scrape of 50 pods: CPU less than KubeSkoop', /^\| CPU of a scrape \|.*\| ([\d.]+) \| ≥/, '×', '≥', 10),
    ],
  },
  {
    name: 'ring',
    needs: ['root', 'gcc', 'bpf'],
    limitSeconds: 60,
    aims: [aim('a record of 64 B from the ring against C', /^ *64 B.*, ([\d.]+)x$/, '×', '≤', 1.5)],
  },
  {
    name: 'ring-events',
    needs: ['root', 'bpf'],
    limitSeconds: 60,
    aims: [aim('50 000 events/s for 5 s through the pipeline: lost', /^steady.*lost (\d+)/, 'events', '≤', 0)],
  },
  { name: 'probe-cost', needs: ['root', 'bpf'], limitSeconds: 60, aims: [] },
  {
    name: 'impact-probes',
    needs: ['root', 'gcc', 'bpf'],
    limitSeconds: 120,
    aims: [aim('default probes: CPU of a request with nothing around it', /^a request.*?\+(-?[\d.]+) %/, '%', '<', 1)],
  },
  { name: 'impact', needs: ['root', 'gcc', 'bpf'], limitSeconds: 120, aims: [] },
  { name: 'netlink-sockets', needs: ['root', 'gcc'], limitSeconds: 60, aims: [] },
  { name: 'netlink-conntrack', needs: ['root', 'gcc'], limitSeconds: 60, aims: [] },
  { name: 'delivery', needs: [], limitSeconds: 120, aims: [] },
  {
    name: 'peers',
    needs: [],
    limitSeconds: 60,
    aims: [
      aim('5000 pods known: resident memory', /^peers: ([\d.]+) MiB/, 'MiB', '<', 30),
      aim('a list of them with one change, in processors/peer', /^list with one change.*: ([\d.]+) ms/, 'ms', '<', 5),
    ],
  },
];
