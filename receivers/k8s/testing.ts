/** An API server for tests: lists, pages and watches as the real one does them, and fails as told. Used by tests and benches only. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ResourceName } from './objects.ts';

// biome-ignore lint/suspicious/noExplicitAny: objects of the API as they come.
export type ApiObject = any;

const kinds: Readonly<Record<ResourceName, string>> = { pods: 'Pod', services: 'Service', nodes: 'Node' };

interface HistoryEntry {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: ApiObject;
}

/** What a request meets instead of an answer. Each is used up by one request. */
export type Fault =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** Answers with this text, status 200. */
  | { readonly text: string }
  /** Closes the connection before the answer. */
  | { readonly cut: true }
  /** Takes the request and says nothing. */
  | { readonly silent: true };

interface Watch {
  readonly resource: ResourceName;
  readonly response: ServerResponse;
  readonly selects: (object: ApiObject) => boolean;
}

export interface RequestSeen {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
}

export interface FakeApiOptions {
  /** Bearer tokens that are let in; everybody when absent. */
  readonly tokens?: Set<string>;
  readonly tls?: { readonly cert: Buffer | string; readonly key: Buffer | string };
  /** As servers before WatchList: `refuse` as one that has it switched off, `ignore` as one that does not know it. */
  readonly streaming?: 'serve' | 'refuse' | 'ignore';
  readonly host?: string;
}

/** The server. Objects are kept by resource and uid; each write has a version, and watches see it at once. */
export class FakeApi {
  readonly requests: RequestSeen[] = [];
  readonly #options: FakeApiOptions;
  readonly #objects: Readonly<Record<ResourceName, Map<string, ApiObject>>> = {
    pods: new Map(),
    services: new Map(),
    nodes: new Map(),
  };
  readonly #history: Record<ResourceName, HistoryEntry[]> = { pods: [], services: [], nodes: [] };
  readonly #compacted: Record<ResourceName, number> = { pods: 0, services: 0, nodes: 0 };
  readonly #faults: { readonly when: (seen: RequestSeen) => boolean; readonly fault: Fault }[] = [];
  readonly #watches = new Set<Watch>();
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Duplex>();
  #version = 1000;

  constructor(options: FakeApiOptions = {}) {
    this.#options = options;
    const handle = (request: IncomingMessage, response: ServerResponse) => this.#handle(request, response);
    this.#server = options.tls ? createTlsServer({ ...options.tls }, handle) : createServer(handle);
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** @returns the server's URL. */
  async start(port = 0): Promise<string> {
    const { host = '127.0.0.1', tls } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    return `${tls ? 'https' : 'http'}://${host}:${this.port}`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.cutConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Watches that are open now. */
  get watches(): readonly ResourceName[] {
    return [...this.#watches].map((w) => w.resource).sort();
  }

  /** The next request that matches meets this instead. */
  failNext(fault: Fault, when: (seen: RequestSeen) => boolean = () => true): void {
    this.#faults.push({ fault, when });
  }

  put(resource: ResourceName, ...objects: ApiObject[]): void {
    for (const object of objects) {
      const type = this.#objects[resource].has(object.metadata.uid) ? 'MODIFIED' : 'ADDED';
      this.#write(resource, type, object);
    }
  }

  delete(resource: ResourceName, uid: string): void {
    const object = this.#objects[resource].get(uid);
    if (object !== undefined) this.#write(resource, 'DELETED', object);
  }

  /** Forgets what happened so far: watches from an old version are told 410. */
  compact(resource: ResourceName): void {
    this.#history[resource] = [];
    this.#compacted[resource] = this.#version;
  }

  /** Sends a bookmark to all watches of a resource. */
  bookmark(resource: ResourceName): void {
    this.#version++;
    for (const w of this.#watches)
      if (w.resource === resource) this.#send(w, bookmarkOf(resource, this.#version, false));
  }

  /** Sends text as it is on all watches of a resource. */
  say(resource: ResourceName, text: string): void {
    for (const w of this.#watches) if (w.resource === resource) w.response.write(text);
  }

  /** Ends the watches of a resource properly, as the server does after `timeoutSeconds`. */
  endWatches(resource: ResourceName): void {
    for (const w of this.#watches) {
      if (w.resource !== resource) continue;
      this.#watches.delete(w);
      w.response.end();
    }
  }

  cutConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #write(resource: ResourceName, type: HistoryEntry['type'], object: ApiObject): void {
    const version = ++this.#version;
    const { metadata, ...rest } = object;
    const whole = { ...rest, metadata: { ...metadata, resourceVersion: String(version) } };
    const before = this.#objects[resource].get(metadata.uid);
    if (type === 'DELETED') this.#objects[resource].delete(metadata.uid);
    else this.#objects[resource].set(metadata.uid, whole);
    this.#history[resource].push({ version, type, object: whole });
    for (const w of this.#watches) {
      if (w.resource !== resource) continue;
      const seen = selectedEvent(w.selects, type, whole, before);
      if (seen !== undefined) this.#send(w, { type: seen, object: typed(resource, whole) });
    }
  }

  #send(watch: Watch, event: object): void {
    watch.response.write(`${JSON.stringify(event)}\n`);
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://api');
    const seen = { path: url.pathname, query: url.searchParams, authorization: request.headers.authorization };
    this.requests.push(seen);
    const fault = this.#faultFor(seen);
    if (fault !== undefined) {
      failWith(fault, request, response);
      return;
    }
    const { tokens } = this.#options;
    if (tokens && !tokens.has(seen.authorization?.replace('Bearer ', '') ?? '')) {
      refuse(response, 401, 'Unauthorized');
      return;
    }
    const resource = /^\/api\/v1\/(pods|services|nodes)$/.exec(url.pathname)?.[1] as ResourceName | undefined;
    if (resource === undefined) refuse(response, 404, 'the server could not find the requested resource');
    else if (url.searchParams.get('watch') === 'true') this.#watch(resource, url.searchParams, response);
    else this.#list(resource, url.searchParams, response);
  }

  #faultFor(seen: RequestSeen): Fault | undefined {
    const at = this.#faults.findIndex((f) => f.when(seen));
    return at === -1 ? undefined : this.#faults.splice(at, 1)[0]?.fault;
  }

  #list(resource: ResourceName, query: URLSearchParams, response: ServerResponse): void {
    const limit = Number(query.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
    const token = query.get('continue');
    let from = 0;
    let version = this.#version;
    if (token !== null) {
      const parsed = JSON.parse(Buffer.from(token, 'base64url').toString());
      if (parsed.version < this.#compacted[resource]) {
        refuse(response, 410, 'The provided continue parameter is too old to display a consistent list result.');
        return;
      }
      ({ from, version } = parsed);
    }
    const all = [...this.#objects[resource].values()].filter(selectorOf(query));
    const items = all.slice(from, from + limit);
    const left = all.length - from - items.length;
    const next =
      left > 0 ? Buffer.from(JSON.stringify({ from: from + items.length, version })).toString('base64url') : undefined;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({
        kind: `${kinds[resource]}List`,
        apiVersion: 'v1',
        metadata: { resourceVersion: String(version), ...(next && { continue: next, remainingItemCount: left }) },
        items,
      }),
    );
  }

  #watch(resource: ResourceName, query: URLSearchParams, response: ServerResponse): void {
    const { streaming = 'serve' } = this.#options;
    const fills = query.get('sendInitialEvents') === 'true';
    if (fills && streaming === 'refuse') {
      refuse(response, 422, 'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch');
      return;
    }
    const selects = selectorOf(query);
    const watch = { resource, response, selects };
    const version = query.get('resourceVersion');
    response.writeHead(200, { 'content-type': 'application/json' });
    if (version === null) {
      for (const object of this.#objects[resource].values()) {
        if (selects(object)) this.#send(watch, { type: 'ADDED', object: typed(resource, object) });
      }
      if (fills && streaming === 'serve') this.#send(watch, bookmarkOf(resource, this.#version, true));
    } else if (Number(version) < this.#compacted[resource]) {
      this.#send(watch, { type: 'ERROR', object: statusOf(410, `too old resource version: ${version}`) });
      response.end();
      return;
    } else {
      response.flushHeaders();
      for (const { type, object, version: at } of this.#history[resource]) {
        if (at > Number(version) && selects(object)) this.#send(watch, { type, object: typed(resource, object) });
      }
    }
    this.#watches.add(watch);
    response.once('close', () => this.#watches.delete(watch));
  }
}

function failWith(fault: Fault, request: IncomingMessage, response: ServerResponse): void {
  if ('silent' in fault) return;
  if ('cut' in fault) request.socket.destroy();
  else if ('text' in fault) response.end(fault.text);
  else {
    response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
    response.end(fault.body ?? JSON.stringify(statusOf(fault.status, 'told to fail')));
  }
}

/** The event as a watch with a selector sees it: what leaves the selection is deleted, what enters it is added. */
function selectedEvent(
  selects: Watch['selects'],
  type: HistoryEntry['type'],
  object: ApiObject,
  before: ApiObject | undefined,
): HistoryEntry['type'] | undefined {
  const was = before !== undefined && selects(before);
  const is = type !== 'DELETED' && selects(object);
  if (is) return was ? 'MODIFIED' : 'ADDED';
  return was ? 'DELETED' : undefined;
}

/** `status.phase!=X`, several with commas: all that we ask for. */
function selectorOf(query: URLSearchParams): (object: ApiObject) => boolean {
  const not = (query.get('fieldSelector') ?? '')
    .split(',')
    .filter(Boolean)
    .map((s) => s.split('!=')[1]);
  return (object) => !not.includes(object.status?.phase);
}

function typed(resource: ResourceName, object: ApiObject): ApiObject {
  return { kind: kinds[resource], apiVersion: 'v1', ...object };
}

function bookmarkOf(resource: ResourceName, version: number, last: boolean): object {
  const annotations = last ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
  return {
    type: 'BOOKMARK',
    object: typed(resource, {
      metadata: { resourceVersion: String(version), creationTimestamp: null, ...annotations },
      spec: {},
      status: {},
    }),
  };
}

const reasons: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  410: 'Expired',
  422: 'Invalid',
};

function statusOf(code: number, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason: reasons[code], code };
}

function refuse(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(statusOf(code, message)));
}

let serial = 0;

export interface PodSpec {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly ips?: readonly string[];
  readonly node?: string;
  readonly hostNetwork?: boolean;
  readonly phase?: string;
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly created?: string;
}

/** A pod as far as this receiver reads it, and a little more; whole ones are in testdata/. */
export function podObject(spec: PodSpec): ApiObject {
  const { name, namespace = 'shop', node = 'node-b', ips = [], owner } = spec;
  const uid = spec.uid ?? `00000000-0000-4000-8000-${String(++serial).padStart(12, '0')}`;
  const references = owner ? [{ apiVersion: 'apps/v1', ...owner, uid: `${uid}-o`, controller: true }] : undefined;
  return {
    metadata: {
      name,
      namespace,
      uid,
      creationTimestamp: spec.created ?? '2026-01-02T03:00:00Z',
      labels: spec.labels ?? {},
      annotations: spec.annotations ?? {},
      ...(references && { ownerReferences: references }),
    },
    spec: {
      nodeName: node,
      ...(spec.hostNetwork && { hostNetwork: true }),
      containers: [{ name: 'app', image: 'app:1' }],
    },
    status: {
      phase: spec.phase ?? 'Running',
      hostIP: '192.0.2.11',
      ...(ips.length > 0 && { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
    },
  };
}

export function serviceObject(name: string, clusterIPs: readonly string[], more: object = {}): ApiObject {
  const metadata = { name, namespace: 'shop', uid: `service-${name}`, creationTimestamp: '2026-01-02T02:00:00Z' };
  return {
    metadata,
    spec: { clusterIP: clusterIPs[0], clusterIPs, type: 'ClusterIP', ...more },
    status: { loadBalancer: {} },
  };
}

export function nodeObject(name: string, ip: string, zone?: string): ApiObject {
  return {
    metadata: {
      name,
      uid: `node-${name}`,
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'kubernetes.io/hostname': name, ...(zone && { 'topology.kubernetes.io/zone': zone }) },
    },
    spec: {},
    status: {
      addresses: [
        { type: 'InternalIP', address: ip },
        { type: 'Hostname', address: name },
      ],
    },
  };
}
