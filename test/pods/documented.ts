/**
 * Pages whose commands are run: each `sh` block, in order, by one bash on the node of a bed; a `text` block behind one is what that printed. A comment
 * `<!-- sh: … -->` is a block that readers do not see. What runs and what stands there can be compared, or the page written anew.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { TestNode } from '../bed/node.ts';

/** A block of commands of a page. */
export interface Step {
  readonly commands: string;
  /** The output that stands behind it; undefined when the page shows none. */
  readonly shown: string | undefined;
  /** Where in the page that output is. */
  readonly at: number;
}

const block = /^(?:```sh\n(.*?)^```\n|<!-- sh: ([^\n]*) -->\n)(?:\n```text\n(.*?)^```$)?/gms;
const textHead = '\n```text\n';

/** The steps of a page. Blocks of other languages (`yaml`, `console`) are for reading only. */
export function stepsOf(page: string): Step[] {
  return Array.from(page.matchAll(block), (m) => ({
    commands: m[1] ?? `${m[2]!}\n`,
    shown: m[3],
    at: m[3] === undefined ? 0 : m.index + m[0].lastIndexOf(textHead) + textHead.length,
  }));
}

/** The page with other outputs, one for each of its steps; undefined leaves what is there. */
export function withOutputs(page: string, steps: readonly Step[], outputs: readonly (string | undefined)[]): string {
  let out = page;
  for (let i = steps.length - 1; i >= 0; i--) {
    const { shown, at } = steps[i]!;
    const now = outputs[i];
    if (shown !== undefined && now !== undefined) out = out.slice(0, at) + now + out.slice(at + shown.length);
  }
  return out;
}

/** A bash that keeps its variables, functions and jobs from one step to the next. */
export interface Shell {
  /** What the commands printed, standard error too. @throws when the last one fails, or after a minute */
  run(commands: string): Promise<string>;
  stop(): Promise<void>;
}

const mark = '--- documented step ended:';

/** @param prelude run first: the functions that pages use */
export async function startShell(node: TestNode, prelude: string): Promise<Shell> {
  const argv = node.enter(['bash', '--norc', '-s']);
  const child: ChildProcess = spawn(argv[0]!, argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  let lines: string[] = [];
  let done: ((code: number) => void) | undefined;
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const at = line.indexOf(mark);
    if (at < 0) lines.push(line);
    else {
      if (at > 0) lines.push(line.slice(0, at));
      done?.(Number(line.slice(at + mark.length)));
    }
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  async function run(commands: string): Promise<string> {
    lines = [];
    const code = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`It takes more than a minute:\n${commands}`)), 60_000);
      done = (c) => {
        clearTimeout(timer);
        resolve(c);
      };
      child.stdin!.write(`{ ${commands}\n} 2>&1\necho "${mark}$?"\n`);
    });
    const output = lines.map((l) => `${l}\n`).join('');
    if (code !== 0) throw new Error(`Exit status ${code}:\n${commands}\n${output}`);
    return output;
  }
  await run(prelude);
  return {
    run,
    async stop() {
      child.stdin!.end('kill $(jobs -p) 2> /dev/null; exit\n');
      await ended;
    },
  };
}
