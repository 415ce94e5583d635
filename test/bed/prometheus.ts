import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { stringify } from 'yaml';
import { command, output, waitFor } from './command.ts';
import type { TestNode } from './node.ts';

export interface PrometheusOptions {
  /** Where it runs; absent = on this machine's loopback. */
  readonly node?: TestNode;
  /** `scrape_configs`, as in prometheus.yml. */
  readonly scrapeConfigs: readonly object[];
  readonly scrapeInterval?: string;
  /** `groups` of a rule file. */
  readonly ruleGroups?: readonly object[];
  /** More command line, `--enable-feature=native-histograms`. */
  readonly flags?: readonly string[];
  /** Port on loopback. Default 9090 in a node; must be given without one. */
  readonly port?: number;
}

/** One series of an instant query. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  /** Time (s) and value as text. */
  readonly value?: readonly [number, string];
  readonly histogram?: readonly [number, object];
}

/** What Prometheus says about a target. */
export interface TargetState {
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
  readonly scrapeUrl: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A real Prometheus server, with its data in a folder of its own. */
export interface Prometheus {
  /** Runs a PromQL instant query and returns the vector. */
  query(expression: string): Promise<QueryResult[]>;
  /** The number that the expression gives; throws unless it gives exactly one. */
  number(expression: string): Promise<number>;
  targets(): Promise<TargetState[]>;
  /** GETs a path of its HTTP API and returns the answer's `data`. */
  api<T>(path: string): Promise<T>;
  log(): string;
  stop(): Promise<void>;
}

/** Starts Prometheus and waits until it is ready. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const { node, port = 9090, scrapeInterval = '1s' } = options;
  const directory = mkdtempSync(`${tmpdir()}/skl-prometheus-`);
  const rules = options.ruleGroups ? { rule_files: [`${directory}/rules.yml`] } : {};
  const global = {
    scrape_interval: scrapeInterval,
    scrape_timeout: scrapeInterval,
    evaluation_interval: scrapeInterval,
  };
  mkdirSync(`${directory}/data`);
  writeFileSync(`${directory}/prometheus.yml`, stringify({ global, ...rules, scrape_configs: options.scrapeConfigs }));
  if (options.ruleGroups) writeFileSync(`${directory}/rules.yml`, stringify({ groups: options.ruleGroups }));

  const enter = (argv: readonly string[]) => (node ? node.enter(argv) : [...argv]);
  const flags = [
    `--config.file=${directory}/prometheus.yml`,
    `--storage.tsdb.path=${directory}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
    ...(options.flags ?? []),
  ];
  // Its own process ends with standard input's end of file, so that it cannot outlive a test process that crashes.
  const script = 'exec 3<&0; prometheus "$@" & server=$!; cat <&3 > /dev/null; kill $server; wait $server';
  const argv = enter(['/bin/sh', '-c', script, 'sh', ...flags]);
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));

  const get = (path: string) => output(enter(['curl', '-sS', '--fail-with-body', `http://127.0.0.1:${port}${path}`]));
  const api = async <T>(path: string) => (JSON.parse(await get(path)) as { data: T }).data;
  const query = async (expression: string) =>
    (await api<{ result: QueryResult[] }>(`/api/v1/query?query=${encodeURIComponent(expression)}`)).result;
  const stop = async () => {
    child.stdin.end();
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await waitFor('Prometheus to be ready', () => get('/-/ready'));
  } catch (error) {
    await stop();
    throw new Error(`Prometheus did not become ready: ${log.split('\n').slice(-5).join('\n')}`, { cause: error });
  }
  return {
    query,
    api,
    stop,
    log: () => log,
    async number(expression) {
      const result = await query(expression);
      const value = result[0]?.value;
      if (result.length !== 1 || !value) throw new Error(`${expression} gives ${result.length} series, not one.`);
      return Number(value[1]);
    },
    targets: async () => (await api<{ activeTargets: TargetState[] }>('/api/v1/targets')).activeTargets,
  };
}

/** What `promtool check metrics` says of a text exposition: exit code 0 and nothing when it has no complaint. */
export function promtoolCheckMetrics(text: string) {
  return command(['promtool', 'check', 'metrics'], { input: text });
}
