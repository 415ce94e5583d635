import type { ReceiverContext } from '../../pipeline/component.ts';
import { AbsentError, messageOf } from '../../pipeline/errors.ts';
import type { CriConfig } from './config.ts';
import type { NamespaceDoor, PodSource } from './pod-source.ts';
import { type Candidate, candidates } from './sockets.ts';

export interface ConnectOptions {
  readonly config: CriConfig;
  readonly context: ReceiverContext;
  readonly door: NamespaceDoor;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Sockets to try; for tests. */
  readonly find?: typeof candidates;
}

/**
 * Finds somebody who knows the pods: the first candidate that answers its first list. A socket that is there but serves no CRI (Docker's
 * own containerd has that service switched off) is passed over.
 *
 * @throws AbsentError when there is no socket at all; the last candidate's error when none of them answered.
 */
export async function connect(options: ConnectOptions, signal: AbortSignal): Promise<PodSource> {
  const { config, context } = options;
  if (config.mode === 'sidecar') return sidecar(options);
  const kinds: readonly Candidate['kind'][] = config.mode === 'auto' ? ['cri', 'docker'] : [config.mode];
  const found = (options.find ?? candidates)(config.endpoint, kinds);
  if (found.length === 0) {
    throw new AbsentError('No container runtime socket found.', {
      component: context.id,
      hint: 'Set receivers.cri.endpoint, and mount the socket when the agent runs in a container.',
    });
  }
  let last: unknown;
  for (const candidate of found) {
    const source = await open(candidate, options);
    try {
      await source.list(signal);
      context.log.info({ endpoint: candidate.path, runtime: source.runtime }, 'Container runtime found.');
      return source;
    } catch (error) {
      source.close();
      last = error;
      context.log.debug({ endpoint: candidate.path }, `Container runtime does not answer: ${messageOf(error)}.`);
    }
  }
  throw last;
}

/** Imports what is needed only now: on a machine without a runtime gRPC is never loaded. */
async function open(candidate: Candidate, { config, context, door, find }: ConnectOptions): Promise<PodSource> {
  const options = { socketPath: candidate.path, config, context, door };
  const { DockerSource, dockerPidOf } = await import('./docker-source.ts');
  if (candidate.kind === 'docker') return new DockerSource(options);
  const { CriSource } = await import('./cri-source.ts');
  if (!candidate.path.includes('cri-dockerd')) return new CriSource(options);
  const docker = (find ?? candidates)(undefined, ['docker'])[0];
  if (docker === undefined) return new CriSource(options);
  return new CriSource({ ...options, inspectPid: dockerPidOf(docker.path, config.timeout) });
}

async function sidecar({ door, env, context }: ConnectOptions): Promise<PodSource> {
  const { SidecarSource } = await import('./sidecar-source.ts');
  return new SidecarSource(env, door.ofPid(process.pid), Math.round(context.clock.nowMs()));
}
