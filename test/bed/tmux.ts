import { type Finished, waitFor } from './command.ts';
import type { TestNode } from './node.ts';

/** A terminal in a test node: what a program draws, and keys pressed by nobody. */
export interface Terminal {
  /** The rows as they stand, without colours; trailing spaces cut. */
  text(): Promise<string>;
  /** Keys by tmux's names (`Enter`, `Escape`, `j`). */
  press(...keys: readonly string[]): Promise<void>;
  /** Types text as it is. */
  type(text: string): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** A format of tmux: `#{alternate_on}`. */
  ask(format: string): Promise<string>;
  /** Looks until the rows satisfy; the error shows the last ones. */
  until(what: string, look: (text: string) => unknown, timeoutMs?: number): Promise<string>;
  close(): Promise<void>;
}

let serial = 0;

/** Starts a shell command in a terminal of its own. The terminal stays when the command ends. */
export async function startTerminal(
  node: TestNode,
  command: string,
  options: { readonly columns?: number; readonly rows?: number; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Terminal> {
  const { columns = 160, rows = 50, env = {} } = options;
  const socket = `skl-${process.pid}-${++serial}`;
  // C.UTF-8: without it tmux shows what is not ASCII as underscores.
  const tmux = (...argv: readonly string[]): Promise<Finished> =>
    node.run(['tmux', '-u', '-f', '/dev/null', '-L', socket, ...argv], {
      env: { ...env, LC_ALL: 'C.UTF-8', TERM: 'xterm-256color' },
    });
  const ok = async (...argv: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await tmux(...argv);
    if (code !== 0) throw new Error(`tmux ${argv.join(' ')}: ${stderr}`);
    return stdout;
  };
  await ok('new-session', '-d', '-x', String(columns), '-y', String(rows), `${command}; exec sleep 2147483647`);
  const text = () => ok('capture-pane', '-p');
  return {
    text,
    press: async (...keys) => void (await ok('send-keys', ...keys)),
    type: async (typed) => void (await ok('send-keys', '-l', typed)),
    resize: async (x, y) => void (await ok('resize-window', '-x', String(x), '-y', String(y))),
    ask: async (format) => (await ok('display-message', '-p', format)).trim(),
    async until(what, look, timeoutMs = 30_000) {
      let last = '';
      try {
        return await waitFor(
          what,
          async () => {
            last = await text();
            return look(last) ? last : undefined;
          },
          { everyMs: 200, timeoutMs },
        );
      } catch (error) {
        throw new Error(`${(error as Error).message}. The terminal shows:\n${last}`);
      }
    },
    close: async () => void (await tmux('kill-server')),
  };
}
