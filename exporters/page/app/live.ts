import type { Hello } from '../messages.ts';

export type LiveState = 'connecting' | 'live' | 'lost';

/** What a view gets from the agent: a stream that comes back by itself. */
export interface Live {
  close(): void;
}

const retryMs = 5000;

/** Opens the stream of a topic, `pods` or `pod/KEY`. */
export function openLive(
  topic: string,
  on: {
    readonly message: (message: unknown) => void;
    readonly state: (state: LiveState, why?: string) => void;
    readonly hello: (hello: Hello) => void;
  },
): Live {
  let source: EventSource;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const open = () => {
    source = new EventSource(`/live/${topic}`);
    source.addEventListener('hello', (event) => {
      on.state('live');
      on.hello(JSON.parse((event as MessageEvent<string>).data) as Hello);
    });
    source.addEventListener('message', (event) => on.message(JSON.parse(event.data as string)));
    source.addEventListener('error', () => {
      on.state('lost');
      // The browser tries again after a broken connection, but not after a refusal.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, retryMs);
    });
  };
  open();
  return {
    close() {
      clearTimeout(retry);
      source.close();
    },
  };
}
