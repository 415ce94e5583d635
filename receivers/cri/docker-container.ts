import type { ContainerEntity } from '../../pipeline/batch.ts';

/** One container of the Docker engine, read from `GET /containers/<id>/json`. */
export interface DockerContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly state: ContainerEntity['state'];
  readonly pid?: number;
  readonly restartCount: number;
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  /** `bridge`, `host`, `container:<id>`, `none`. */
  readonly networkMode: string;
  /** Bind mount of its network namespace: `/var/run/docker/netns/…`. */
  readonly netnsPath?: string;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly finishedAtNs: bigint;
}

type Json = Readonly<Record<string, unknown>>;

/** Reads an inspect answer; undefined when it is not one. Every field but the id may be missing or of the wrong type. */
export function parseContainer(json: unknown): DockerContainer | undefined {
  const top = object(json);
  const id = string(top['Id']);
  if (id === '') return undefined;
  const state = object(top['State']);
  const config = object(top['Config']);
  const network = object(top['NetworkSettings']);
  const pid = state['Pid'];
  const sandboxKey = string(network['SandboxKey']);
  return {
    id,
    name: string(top['Name']).replace(/^\//, ''),
    image: string(config['Image']),
    state: stateOf(string(state['Status'])),
    ...(typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 && { pid }),
    restartCount: count(top['RestartCount']),
    createdAtMs: timeMs(top['Created']) ?? 0,
    labels: labelsOf(config['Labels']),
    ips: addressesOf(network),
    networkMode: string(object(top['HostConfig'])['NetworkMode']),
    ...(sandboxKey.startsWith('/') && { netnsPath: sandboxKey }),
    exitCode: count(state['ExitCode']),
    oomKilled: state['OOMKilled'] === true,
    finishedAtNs: BigInt(timeMs(state['FinishedAt']) ?? 0) * 1_000_000n,
  };
}

/** Ids of `GET /containers/json`; empty when the answer is not a list. */
export function parseIds(json: unknown): readonly string[] {
  if (!Array.isArray(json)) return [];
  return json.map((item) => string(object(item)['Id'])).filter((id) => /^[0-9a-f]{12,64}$/.test(id));
}

function stateOf(status: string): ContainerEntity['state'] {
  if (status === 'created') return 'created';
  if (status === 'exited' || status === 'dead' || status === 'removing') return 'exited';
  return status === 'running' || status === 'paused' || status === 'restarting' ? 'running' : 'unknown';
}

/** Addresses of all networks the container is in, both IP versions, each once. */
function addressesOf(network: Json): readonly string[] {
  const all = [network, ...Object.values(object(network['Networks'])).map(object)];
  const ips = all.flatMap((n) => [string(n['IPAddress']), string(n['GlobalIPv6Address'])]);
  return [...new Set(ips.filter((ip) => ip !== ''))];
}

function labelsOf(json: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(object(json)).filter((e): e is [string, string] => typeof e[1] === 'string'),
  );
}

function object(json: unknown): Json {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Json) : {};
}
function string(json: unknown): string {
  return typeof json === 'string' ? json : '';
}
function count(json: unknown): number {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 ? json : 0;
}
/** RFC 3339 to Unix epoch ms; Docker writes year 1 for "never". */
function timeMs(json: unknown): number | undefined {
  const ms = Date.parse(string(json));
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}
