import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { Events } from '../../receivers/cri/proto/events_pb.ts';
import {
  type ContainerSchema,
  ContainerState,
  type ContainerStatusSchema,
  NamespaceMode,
  type PodSandboxSchema,
  PodSandboxState,
  RuntimeService,
} from '../../receivers/cri/proto/runtime_pb.ts';

/** A pod of the fake runtime. `info` is the verbose answer as is: each runtime has its own. */
export interface FakePod {
  readonly sandbox: MessageInitShape<typeof PodSandboxSchema> & { readonly id: string };
  readonly ips?: readonly string[];
  readonly mode?: NamespaceMode;
  readonly info?: Record<string, string>;
  readonly containers?: readonly (MessageInitShape<typeof ContainerSchema> & { readonly id: string })[];
}

/** What a handler may do instead of answering. */
export type Misbehaviour = (call: string) => { code: number; details: string } | Buffer | 'never' | undefined;

/** A CRI server on a unix socket, for tests. Everything in it may be changed between calls. */
export class FakeRuntime {
  readonly path: string;
  readonly #directory: string;
  #server: Server | undefined;
  readonly #streams = new Set<ServerWritableStream<unknown, unknown>>();
  pods: FakePod[] = [];
  runtimeName = 'containerd';
  /** Calls so far, by method. */
  readonly calls: Record<string, number> = {};
  /** Status calls that run at this moment, and the most there ever were. */
  running = 0;
  mostRunning = 0;
  /** What ContainerStatus says, by container id. */
  statuses: Record<string, MessageInitShape<typeof ContainerStatusSchema> & { info?: Record<string, string> }> = {};
  misbehave: Misbehaviour = () => undefined;
  /** False: the events service answers UNIMPLEMENTED, as CRI-O does. */
  hasEvents = true;

  constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'skl-fake-cri-'));
    this.path = join(this.#directory, 'cri.sock');
  }

  async start(): Promise<void> {
    const server = new Server({ 'grpc.max_send_message_length': -1 });
    const methods = RuntimeService.method;
    server.addService(
      {
        ...definition(methods.version, RuntimeService.typeName),
        ...definition(methods.listPodSandbox, RuntimeService.typeName),
        ...definition(methods.podSandboxStatus, RuntimeService.typeName),
        ...definition(methods.listContainers, RuntimeService.typeName),
        ...definition(methods.containerStatus, RuntimeService.typeName),
        ...definition(methods.getContainerEvents, RuntimeService.typeName),
      },
      {
        GetContainerEvents: (call: ServerWritableStream<unknown, unknown>) => {
          this.calls['GetContainerEvents'] = (this.calls['GetContainerEvents'] ?? 0) + 1;
          call.write(create(methods.getContainerEvents.output, { containerId: 'c' }));
        },
        Version: this.#unary(methods.version, () => ({ runtimeName: this.runtimeName, runtimeApiVersion: 'v1' })),
        ListPodSandbox: this.#unary(methods.listPodSandbox, () => ({ items: this.pods.map((p) => p.sandbox) })),
        PodSandboxStatus: this.#unary(methods.podSandboxStatus, ({ podSandboxId }) => this.#status(podSandboxId)),
        ListContainers: this.#unary(methods.listContainers, () => ({
          containers: this.pods.flatMap((p) => (p.containers ?? []).map((c) => ({ podSandboxId: p.sandbox.id, ...c }))),
        })),
        ContainerStatus: this.#unary(methods.containerStatus, ({ containerId }) => {
          const { info = {}, ...found } = this.statuses[containerId] ?? {};
          return containerId in this.statuses ? { status: { id: containerId, ...found }, info } : undefined;
        }),
      },
    );
    if (this.hasEvents) {
      server.addService(definition(Events.method.subscribe, Events.typeName), {
        Subscribe: (call: ServerWritableStream<unknown, unknown>) => {
          this.calls['Subscribe'] = (this.calls['Subscribe'] ?? 0) + 1;
          this.#streams.add(call);
          call.on('cancelled', () => this.#streams.delete(call));
        },
      });
    }
    rmSync(this.path, { force: true });
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${this.path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    this.#server = server;
  }

  /** Sends an event to every subscriber. */
  emit(topic: string, event?: { readonly typeUrl: string; readonly value: Uint8Array }): void {
    const { output } = Events.method.subscribe;
    const message = create(output, { namespace: 'k8s.io', topic, ...(event !== undefined && { event }) });
    for (const stream of this.#streams) stream.write(message);
  }

  get subscribers(): number {
    return this.#streams.size;
  }

  /** The server goes as containerd does at a restart: connections break, the socket is gone. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.#streams.clear();
    rmSync(this.path, { force: true });
  }

  close(): void {
    this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #status(id: string) {
    const pod = this.pods.find((p) => p.sandbox.id === id);
    if (pod === undefined) return undefined;
    const [ip = '', ...rest] = pod.ips ?? [];
    const { id: _, metadata, state, createdAt } = pod.sandbox;
    return {
      status: {
        id,
        ...(metadata !== undefined && { metadata }),
        ...(state !== undefined && { state }),
        ...(createdAt !== undefined && { createdAt }),
        network: { ip, additionalIps: rest.map((more) => ({ ip: more })) },
        linux: { namespaces: { options: { network: pod.mode ?? NamespaceMode.POD } } },
      },
      info: pod.info ?? {},
    };
  }

  #unary<I extends DescMessage, O extends DescMessage>(
    method: { readonly name: string; readonly input: I; readonly output: O },
    answer: (request: MessageShape<I>) => MessageInitShape<O> | undefined,
  ) {
    return async (call: ServerUnaryCall<MessageShape<I>, Buffer>, reply: sendUnaryData<Buffer>) => {
      const { name } = method;
      this.calls[name] = (this.calls[name] ?? 0) + 1;
      this.running++;
      this.mostRunning = Math.max(this.mostRunning, this.running);
      // A turn of the loop, so that calls which come together overlap.
      await new Promise((resolve) => setImmediate(resolve));
      this.running--;
      const bad = this.misbehave(name);
      if (bad === 'never') return;
      if (Buffer.isBuffer(bad)) return reply(null, bad);
      if (bad !== undefined) return reply(bad);
      const message = answer(call.request);
      if (message === undefined) return reply({ code: status.NOT_FOUND, details: 'not found' });
      reply(null, Buffer.from(toBinary(method.output, create(method.output, message))));
    };
  }
}

/** One method for grpc-js. Unary answers are buffers already, so that a test can answer with garbage. */
function definition<I extends DescMessage, O extends DescMessage>(
  method: { readonly name: string; readonly methodKind: string; readonly input: I; readonly output: O },
  service: string,
) {
  const streams = method.methodKind === 'server_streaming';
  return {
    [method.name]: {
      path: `/${service}/${method.name}`,
      requestStream: false,
      responseStream: streams,
      requestSerialize: (m: MessageShape<I>) => Buffer.from(toBinary(method.input, m)),
      requestDeserialize: (b: Buffer) => fromBinary(method.input, b),
      responseSerialize: (m: Buffer | MessageShape<O>) =>
        Buffer.isBuffer(m) ? m : Buffer.from(toBinary(method.output, m)),
      responseDeserialize: (b: Buffer) => fromBinary(method.output, b),
    },
  };
}

/** A ready pod as containerd shows it; `n` makes ids, names and addresses. */
export function containerdPod(n: number, more: Partial<FakePod> = {}): FakePod {
  const id = n.toString(16).padStart(64, '0');
  return {
    sandbox: {
      id,
      metadata: { name: `web-${n}`, uid: `uid-${n}`, namespace: 'shop', attempt: 0 },
      state: PodSandboxState.SANDBOX_READY,
      createdAt: 1_700_000_000_000_000_000n + BigInt(n),
      labels: { app: 'web' },
      annotations: {},
    },
    ips: [`10.0.0.${n}`, `fd00::${n}`],
    info: {
      info: JSON.stringify({
        pid: 1000 + n,
        netNamespaceClosed: false,
        runtimeSpec: { linux: { namespaces: [{ type: 'pid' }, { type: 'network', path: `/var/run/netns/cni-${n}` }] } },
      }),
    },
    containers: [runningContainer(`c${n}`.padEnd(64, '0'), 'app')],
    ...more,
  };
}

export function runningContainer(id: string, name: string, attempt = 0) {
  return {
    id,
    metadata: { name, attempt },
    image: { image: 'registry.example/web:1' },
    state: ContainerState.CONTAINER_RUNNING,
    createdAt: BigInt(attempt),
  };
}
