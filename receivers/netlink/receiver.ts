import { Observable } from 'rxjs';
import { hostRoot, type ProcRoot } from '../../host/proc-root.ts';
import type { Receiver, ReceiverContext } from '../../pipeline/component.ts';
import type { NetlinkConfig } from './config.ts';
import { Session } from './session.ts';

/** The machine around the receiver; tests give another one. */
export interface Surroundings {
  readonly root: ProcRoot;
}

/** Makes the receiver. Sockets are opened when it is subscribed to and closed when it is unsubscribed from. */
export function createReceiver(
  config: NetlinkConfig,
  context: ReceiverContext,
  around: Surroundings = { root: hostRoot },
): Receiver {
  return {
    run: () =>
      new Observable((subscriber) => {
        const session = new Session(config, context, around.root, (batch) => subscriber.next(batch));
        session.start();
        return () => session.stop();
      }),
  };
}
