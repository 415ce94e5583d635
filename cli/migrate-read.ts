import { LineCounter, parseDocument } from 'yaml';
import { AgentError } from '../pipeline/errors.ts';

/** A probe or a sink as KubeSkoop's config names it. */
export interface NamedEntry {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** KubeSkoop's exporter config (pkg/exporter/cmd/config.go), as far as it could be read. */
export interface KubeskoopConfig {
  readonly debugMode: boolean;
  /** `address`, or `port` as an address; undefined when there is neither. */
  readonly address: string | undefined;
  readonly metricProbes: readonly NamedEntry[];
  readonly eventProbes: readonly NamedEntry[];
  readonly sinks: readonly NamedEntry[];
  readonly additionalLabels: readonly string[];
}

/** Tells the user of something that is not carried over: where it stands, and a sentence that says why. */
export type Note = (path: string, sentence: string) => void;

type Map_ = Readonly<Record<string, unknown>>;
const isMap = (value: unknown): value is Map_ => typeof value === 'object' && value !== null && !Array.isArray(value);

const topKeys = ['debugMode', 'port', 'address', 'enableController', 'controllerAddr', 'metrics', 'event'];

/**
 * Reads a KubeSkoop config, on its own or in its ConfigMap. KubeSkoop ignores what it does not know; here each such thing is a note.
 *
 * @throws AgentError E_CONFIG when the text is no such config at all.
 */
export function readKubeskoop(text: string, file: string, note: Note): KubeskoopConfig {
  const root = unwrap(parseMap(text, file), file);
  for (const key of Object.keys(root)) {
    const meant = topKeys.find((k) => k.toLowerCase() === key.toLowerCase());
    if (meant === undefined) note(key, 'KubeSkoop has no such key and ignores it.');
    else if (meant !== key) note(key, `KubeSkoop ignores it: its key is ${meant}. Ignored here too.`);
  }
  const metrics = section(root, 'metrics', ['probes', 'additionalLabels'], note);
  const event = section(root, 'event', ['probes', 'sinks'], note);
  noteController(root, note);
  return {
    debugMode: boolean(root['debugMode'], 'debugMode', note) ?? false,
    address: addressOf(root, note),
    metricProbes: entries(metrics['probes'], 'metrics.probes', note),
    eventProbes: entries(event['probes'], 'event.probes', note),
    sinks: entries(event['sinks'], 'event.sinks', note),
    additionalLabels: labels(metrics['additionalLabels'], note),
  };
}

function parseMap(text: string, file: string): Map_ {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const [error] = document.errors;
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    throw new AgentError('E_CONFIG', `${file}:${line}:${col} ${error.message}`);
  }
  const root: unknown = document.toJS({ maxAliasCount: 100 });
  if (!isMap(root)) throw new AgentError('E_CONFIG', `${file} is not a KubeSkoop config: expected a map of keys.`);
  return root;
}

/** The config inside a ConfigMap, where that is what was given. */
function unwrap(root: Map_, file: string): Map_ {
  if (root['kind'] !== 'ConfigMap') {
    if (topKeys.some((k) => Object.hasOwn(root, k))) return root;
    throw new AgentError('E_CONFIG', `${file} is not a KubeSkoop config: it has none of ${topKeys.join(', ')}.`, {
      hint: 'Name the config.yaml that the KubeSkoop exporter reads (/etc/config/config.yaml), or its ConfigMap.',
    });
  }
  const data = root['data'];
  const inner = isMap(data) ? data['config.yaml'] : undefined;
  if (typeof inner !== 'string') throw new AgentError('E_CONFIG', `${file} is a ConfigMap without config.yaml.`);
  return parseMap(inner, `${file} data["config.yaml"]`);
}

function section(root: Map_, name: string, keys: readonly string[], note: Note): Map_ {
  const value = root[name] ?? {};
  if (!isMap(value)) {
    note(name, 'Expected a map; left out.');
    return {};
  }
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) note(`${name}.${key}`, 'KubeSkoop has no such key and ignores it.');
  }
  return value;
}

function noteController(root: Map_, note: Note): void {
  if (root['enableController'] !== true) return;
  const why = 'There is no controller here: no packet capture, no ping mesh, no web console.';
  note(
    'enableController',
    `${why} Remote ends are named by processors.peer: pods of this node, and the whole cluster with the receiver k8s.`,
  );
}

function boolean(value: unknown, path: string, note: Note): boolean | undefined {
  if (value === undefined || value === null || typeof value === 'boolean') return value ?? undefined;
  note(path, `Expected true or false, got ${shown(value)}; left out.`);
  return undefined;
}

/** A host name, an address or a port number, as Go's net package would read it in `host:port`. */
const tcpAddress = /^(?:\[[0-9a-fA-F:.%]+\]|[^:[\]/\s]*):(\d{1,5})$/;

function addressOf(root: Map_, note: Note): string | undefined {
  const { address, port } = root;
  if (address !== undefined && address !== null && address !== '') {
    const found = typeof address === 'string' ? readAddress(address) : undefined;
    if (found !== undefined) {
      if (port) note('port', 'Left out: address says where to listen.');
      return found;
    }
    note('address', `Expected tcp://IP:PORT, IP:PORT or unix:///PATH, got ${shown(address)}; left out.`);
  }
  if (port === undefined || port === null || port === 0) return undefined;
  if (Number.isInteger(port) && Number(port) > 0 && Number(port) <= 65_535) return `0.0.0.0:${port}`;
  note('port', `Expected a port number, got ${shown(port)}; left out.`);
  return undefined;
}

function readAddress(text: string): string | undefined {
  if (/^unix:\/\/\/./.test(text)) return text;
  const bare = text.replace(/^tcp:\/\//, '');
  const port = tcpAddress.exec(bare)?.[1];
  return port !== undefined && Number(port) > 0 && Number(port) <= 65_535 ? bare : undefined;
}

/** `[{name, args}]`; a bare name is taken for an entry without arguments, which KubeSkoop refuses to start with. */
function entries(value: unknown, path: string, note: Note): NamedEntry[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    note(path, 'Expected a list; left out.');
    return [];
  }
  return value.flatMap((entry: unknown, i): NamedEntry[] => {
    const at = `${path}[${i}]`;
    if (typeof entry === 'string') return [{ name: entry, args: {} }];
    if (!isMap(entry) || typeof entry['name'] !== 'string' || entry['name'] === '') {
      note(at, 'Expected an entry with a name; left out.');
      return [];
    }
    const args = entry['args'] ?? {};
    if (!isMap(args)) note(`${at}.args`, 'Expected a map; left out.');
    return [{ name: entry['name'], args: isMap(args) ? args : {} }];
  });
}

function labels(value: unknown, note: Note): string[] {
  if (value === undefined || value === null) return [];
  // KubeSkoop's own example is one text of many lines, which its exporter cannot read as it is meant.
  const list: unknown[] =
    typeof value === 'string' ? value.split('\n').map((l) => l.replace(/^\s*-?\s*/, '').trim()) : [value].flat();
  return list.flatMap((entry, i): string[] => {
    if (entry === '' || entry === null) return [];
    const name = typeof entry === 'string' ? /^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=/.exec(entry)?.[1] : undefined;
    if (name !== undefined && !name.startsWith('__')) return [String(entry).trim()];
    note(
      `metrics.additionalLabels[${i}]`,
      `Expected NAME=EXPRESSION with a label name, got ${shown(entry)}; left out.`,
    );
    return [];
  });
}

/** A value in a sentence, short. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
