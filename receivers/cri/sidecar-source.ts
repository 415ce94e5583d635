import { EMPTY } from 'rxjs';
import type { PodEntity } from '../../pipeline/batch.ts';
import { AgentError } from '../../pipeline/errors.ts';
import type { ContainerExit, PodSource } from './pod-source.ts';

/**
 * The pod that the agent itself runs in, as its manifest tells by the downward API: POD_NAME, POD_NAMESPACE, POD_UID, POD_IP(S).
 * KUBESKOOP_POD_NAME and KUBESKOOP_POD_NAMESPACE are understood too.
 */
export class SidecarSource implements PodSource {
  readonly runtime = 'sidecar';
  readonly endpoint = 'environment';
  readonly wake$ = EMPTY;
  readonly #pods: readonly PodEntity[];

  /**
   * @param netns inode of the own namespace.
   * @throws AgentError when the pod's name is not told.
   */
  constructor(env: Readonly<Record<string, string | undefined>>, netns: number | undefined, createdAtMs: number) {
    const name = env['POD_NAME'] || env['KUBESKOOP_POD_NAME'];
    if (!name) {
      throw new AgentError('E_SIDECAR_NAME', 'Sidecar mode needs the name of its pod.', {
        hint: 'Set POD_NAME, POD_NAMESPACE and POD_UID from the downward API (fieldRef metadata.name, ...).',
      });
    }
    const namespace = env['POD_NAMESPACE'] || env['KUBESKOOP_POD_NAMESPACE'] || 'default';
    const ips = (env['POD_IPS'] || env['POD_IP'] || '').split(',').filter((ip) => ip !== '');
    const uid = env['POD_UID'] || `${namespace}/${name}`;
    const pod: PodEntity = {
      kind: 'pod',
      uid,
      name,
      namespace,
      hostNetwork: false,
      ...(netns !== undefined && { netns }),
      sandboxId: '',
      state: 'ready',
      createdAtMs,
      ips: Object.freeze(ips),
      labels: Object.freeze({}),
      annotations: Object.freeze({}),
      containers: Object.freeze([]),
      runtime: 'sidecar',
    };
    this.#pods = Object.freeze([Object.freeze(pod)]);
  }

  async list(): Promise<readonly PodEntity[]> {
    return this.#pods;
  }
  async exitOf(): Promise<ContainerExit | undefined> {
    return undefined;
  }
  close(): void {}
}
