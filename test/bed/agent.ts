import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { GiveUp, type WaitOptions, waitFor } from './command.ts';
import { parseExposition, type Sample } from './exposition.ts';
import { childOf, type TestNode } from './node.ts';

export interface AgentOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Capabilities left to it (`net_admin`, `bpf`, ...); all when absent. */
  readonly capabilities?: readonly string[];
  /** Where its scrape is expected, as seen in the node. Default 127.0.0.1:9464. */
  readonly scrapeAddress?: string;
  /** `false`: do not wait for the first scrape. */
  readonly ready?: boolean;
}

/** The agent running in a test node. */
export interface Agent {
  /** Its process, as seen from outside. */
  readonly pid: number;
  /** Path of its configuration inside and outside the node alike is {@link TestNode.path} of this. */
  readonly configPath: string;
  /** Body of a scrape; throws on anything but 200. */
  scrape(options?: { readonly accept?: string; readonly path?: string; readonly address?: string }): Promise<string>;
  /** The scrape's samples. */
  samples(): Promise<Sample[]>;
  /** Scrapes until `look` returns something; see {@link waitFor}. A failure shows what the agent said. */
  until<T>(
    what: string,
    look: (samples: readonly Sample[]) => T | Promise<T>,
    options?: WaitOptions,
  ): Promise<Exclude<T, undefined | null | false>>;
  /** Lines of standard output so far: the event lines. */
  lines(): readonly string[];
  /** The event lines as fields: `{ type: 'TCPRESET_NOSOCK', pod: 'web-0', ... }`. */
  events(): Record<string, string>[];
  /** What it wrote to standard error: its own log. */
  log(): string;
  /** Resident set size in bytes. */
  rssBytes(): number;
  /** Open file descriptors. */
  fds(): number;
  signal(name: NodeJS.Signals): void;
  /** Asks it to end and returns its exit code; after 20 s it is killed. Twice is safe. */
  stop(): Promise<number>;
}

const main = `${import.meta.dirname}/../../cli/main.ts`;
let serial = 0;

/** Command line that keeps only the named capabilities, as a container runtime does. */
function withCapabilities(argv: readonly string[], capabilities: readonly string[] | undefined): readonly string[] {
  if (!capabilities) return argv;
  const kept = ['-all', ...capabilities.map((c) => `+${c}`)].join(',');
  return ['setpriv', `--bounding-set=${kept}`, '--inh-caps=-all', '--ambient-caps=-all', '--', ...argv];
}

/** Fields of an event line; `stacktrace:` ends the line and may hold spaces. */
export function parseEventLine(line: string): Record<string, string> {
  const out: Record<string, string> = {};
  const stack = line.indexOf(' stacktrace:');
  if (stack !== -1) out['stacktrace'] = line.slice(stack + ' stacktrace:'.length);
  for (const field of (stack === -1 ? line : line.slice(0, stack)).split(' ')) {
    const at = field.indexOf('=');
    if (at > 0) out[field.slice(0, at)] = field.slice(at + 1);
  }
  return out;
}

/** Starts the agent in the node, waits for its first scrape and returns it. */
export async function startAgent(node: TestNode, config: string | object, options: AgentOptions = {}): Promise<Agent> {
  const { scrapeAddress = '127.0.0.1:9464' } = options;
  const directory = `/run/skl/agent-${++serial}`;
  const configPath = `${directory}/pipeline.yaml`;
  mkdirSync(node.path(directory), { recursive: true });
  writeFileSync(node.path(configPath), typeof config === 'string' ? config : stringify(config));

  const run = [process.execPath, '--disable-warning=ExperimentalWarning', main, 'run', '--config', configPath];
  const argv = node.enter(withCapabilities(run, options.capabilities));
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const child = spawn(argv[0]!, argv.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, NODE_NAME: node.name, ...options.env },
  });
  const lines: string[] = [];
  let log = '';
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 137)));
  const state = { exit: undefined as number | undefined };
  void ended.then((code) => {
    state.exit = code;
  });
  const said = () => `The agent said:\n${log.split('\n').slice(-40).join('\n')}`;

  const scrape: Agent['scrape'] = async ({
    accept = 'text/plain',
    path = '/metrics',
    address = scrapeAddress,
  } = {}) => {
    if (state.exit !== undefined) throw new GiveUp(`The agent ended with ${state.exit}. ${said()}`);
    const url = `http://${address}${path}`;
    const curl = ['curl', '-sS', '--fail-with-body', '--max-time', '20', '-H', `Accept: ${accept}`, url];
    const { code, stdout, stderr } = await node.run(curl);
    if (code !== 0) throw new Error(`${url}: ${stderr.trim()} ${stdout.slice(0, 300)}`);
    return stdout;
  };
  const samples = async () => parseExposition(await scrape());
  const stop = async () => {
    if (state.exit !== undefined) return state.exit;
    const timer = setTimeout(() => process.kill(pid, 'SIGKILL'), 20_000);
    process.kill(pid, 'SIGTERM');
    const code = await ended;
    clearTimeout(timer);
    return code;
  };
  const pid = await childOf(child.pid!);
  const agent: Agent = {
    pid,
    configPath,
    scrape,
    samples,
    async until(what, look, waitOptions = {}) {
      try {
        return await waitFor(what, async () => look(await samples()), { everyMs: 150, ...waitOptions });
      } catch (error) {
        if (error instanceof GiveUp) throw error;
        throw new Error(`${(error as Error).message}. ${said()}`, { cause: (error as Error).cause });
      }
    },
    lines: () => lines,
    events: () => lines.filter((l) => /(^| )type=/.test(l)).map(parseEventLine),
    log: () => log,
    rssBytes: () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024,
    fds: () => readdirSync(`/proc/${pid}/fd`).length,
    signal: (name) => process.kill(pid, name),
    stop,
  };
  if (options.ready !== false) await agent.until('the first scrape', () => true);
  return agent;
}
