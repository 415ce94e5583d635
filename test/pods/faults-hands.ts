import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { python } from '../bed/command.ts';
import type { TestNode } from '../bed/node.ts';

/** A Python in a network namespace that does what it is told, step by step: for sockets as no command line makes them. */
export interface Hands {
  /** Runs statements and returns what they put into `out`. Throws what they raise. Functions: faults-hands.py. */
  run<T = unknown>(code: string): Promise<T>;
  stop(): Promise<void>;
}

/** @param netnsOfPid whose network namespace; the node's own when absent */
export async function startHands(node: TestNode, netnsOfPid?: number): Promise<Hands> {
  const argv = node.enter(
    [python, '-u', `${import.meta.dirname}/faults-hands.py`],
    netnsOfPid === undefined ? {} : { netnsOfPid },
  );
  const child: ChildProcess = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout! });
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  const next = () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    waiting.push({ resolve, reject });
    return promise;
  };
  const ready = next();
  lines.on('line', (line) => waiting.shift()?.resolve(line));
  const ended = new Promise<void>((resolve) => {
    child.once('close', (code) => {
      for (const { reject } of waiting.splice(0)) reject(new Error(`Python ended with ${code}.`));
      resolve();
    });
  });
  await ready;
  return {
    async run<T>(code: string) {
      const answered = next();
      child.stdin!.write(`${Buffer.from(code).toString('base64')}\n`);
      const answer = JSON.parse(await answered) as { out?: T; error?: string };
      if (answer.error !== undefined) throw new Error(`${answer.error} in:\n${code}`);
      return answer.out as T;
    },
    async stop() {
      child.stdin!.end();
      await ended;
    },
  };
}
