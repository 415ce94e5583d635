import type { ParseArgsOptionsConfig } from 'node:util';
import type { ComponentRegistry } from '../pipeline/component.ts';

/** Exit codes: sysexits(3) where one fits. */
export const exitCodes = { ok: 0, failed: 1, config: 78 } as const;

/** What a command may touch of the process; tests bring their own. */
export interface CommandIo {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly registry: ComponentRegistry;
}

/** What the command line gave, by option name. */
export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
}

/** A command; each file of this folder that is one exports it as `command`. */
export interface Command {
  /** The part of the usage line after the name: `[--config FILE]`. */
  readonly usage: string;
  /** What it does, one or a few lines of at most 100 characters. */
  readonly about: string;
  /** Options as `parseArgs` takes them, each with its line of help; `value` names what it takes. */
  readonly options: Readonly<
    Record<string, ParseArgsOptionsConfig[string] & { readonly help: string; readonly value?: string }>
  >;
  /** Most positional arguments it takes. */
  readonly positionals: number;
  /** Lines of `command — what it shows` at the end of its help. */
  readonly examples: readonly string[];
  /** @returns the exit code. */
  run(args: Arguments, io: CommandIo): Promise<number>;
}

/** An option that every command reading a config has. */
export const configOption = {
  config: { type: 'string', short: 'c', value: 'FILE', help: 'The pipeline (default: pipeline.yaml).' },
} as const;

/** The config file an invocation means: `--config`, else the first positional, else pipeline.yaml here. */
export function configFile({ values, positionals }: Arguments): string {
  const named = values['config'];
  return typeof named === 'string' ? named : (positionals[0] ?? 'pipeline.yaml');
}
