import { NEVER, Observable } from 'rxjs';
import { sharedInventory } from '../../host/netns/inventory.ts';
import { hostRoot, type ProcRoot } from '../../host/proc-root.ts';
import type { PodEntity } from '../../pipeline/batch.ts';
import type { Receiver, ReceiverContext } from '../../pipeline/component.ts';
import type { CriConfig } from './config.ts';
import { connect } from './connect.ts';
import { namespaceDoor } from './namespace-door.ts';
import { watchNetns } from './netns-watch.ts';
import { PodCgroups } from './pod-cgroups.ts';
import { Session } from './session.ts';
import { SidecarSource } from './sidecar-source.ts';
import type { candidates } from './sockets.ts';

/** The machine around the receiver; tests give another one. */
export interface Surroundings {
  readonly root: ProcRoot;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly find?: typeof candidates;
}

const machine: Surroundings = { root: hostRoot, env: process.env };

/**
 * Makes the receiver.
 *
 * @throws AgentError in sidecar mode when the environment does not name the pod.
 */
export function createReceiver(config: CriConfig, context: ReceiverContext, around: Surroundings = machine): Receiver {
  if (config.mode === 'sidecar') new SidecarSource(around.env, undefined, 0);
  const { clock, telemetry } = context;
  const inventory = sharedInventory(around.root);
  const door = namespaceDoor(around.root, () => inventory.current());
  let pods: readonly PodEntity[] = [];
  telemetry.gauge('cri_pods', '{pod}', 'Pods of this node that are known.', () => pods.length);
  telemetry.gauge(
    'cri_pods_without_netns',
    '{pod}',
    'Pods whose network namespace is not known: their data carries no name.',
    () => pods.filter((p) => p.netns === undefined).length,
  );
  return {
    run: () =>
      new Observable((subscriber) => {
        const cgroups = new PodCgroups(around.root);
        const session = new Session(
          {
            config,
            context,
            connect: (signal) => connect({ config, context, door, ...around }, signal),
            inventory: (maxAgeMs) => inventory.fresh(maxAgeMs),
            complete: (list) => cgroups.complete(list, inventory.podProcesses()),
            netnsWake$: config.wake_up.netns
              ? watchNetns(around.root.run('netns'), config.collection_interval, clock.scheduler)
              : NEVER,
            onPods: (list) => {
              pods = list;
            },
          },
          subscriber,
        );
        session.start();
        return () => session.stop();
      }),
  };
}
