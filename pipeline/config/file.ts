import { readFile } from 'node:fs/promises';
import { AgentError, errnoOf, messageOf } from '../errors.ts';

/** The text of a config file. @throws AgentError E_CONFIG in one sentence. */
export async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** Why a config file cannot be read. */
export function unreadable(file: string, error: unknown): AgentError {
  const why = errnoOf(error) === 'ENOENT' ? 'there is no such file' : messageOf(error);
  const hint = 'Name one with --config FILE.';
  return new AgentError('E_CONFIG', `Cannot read the config ${file}: ${why}.`, { hint, cause: error });
}
