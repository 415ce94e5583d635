import { createHook } from 'node:async_hooks';
import childProcess from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';

/** What a component takes from the process, seen from outside. */

/** Runs `work` and returns what I/O it did: calls of Node's modules, and handles and timers it made. */
export function ioOf(work: () => void): string[] {
  const seen: string[] = [];
  const restore = [
    ...watched(fs as never, 'fs', seen, (name) => !name.startsWith('_') && !/^[A-Z]/.test(name)),
    ...watched(fsPromises as never, 'fs/promises', seen, () => true),
    ...watched(childProcess as never, 'child_process', seen, () => true),
    ...watched(net as never, 'net', seen, (name) => /^(connect|createConnection|createServer)$/.test(name)),
    ...watched(dgram as never, 'dgram', seen, () => true),
  ];
  syncBuiltinESMExports();
  const hook = createHook({
    init: (_id, type) => {
      if (/WRAP$|^FS|^Timeout$|^Immediate$|^Worker|^FSEVENT/.test(type) && type !== 'SHAREDARRAYBUFFERWRAP')
        seen.push(type);
    },
  });
  hook.enable();
  try {
    work();
  } finally {
    hook.disable();
    for (const undo of restore) undo();
    syncBuiltinESMExports();
  }
  return seen;
}

function watched(
  module: Record<string, unknown>,
  prefix: string,
  seen: string[],
  pick: (name: string) => boolean,
): (() => void)[] {
  return Object.entries(module)
    .filter(([name, value]) => typeof value === 'function' && pick(name))
    .map(([name, value]) => {
      const original = value as (...args: unknown[]) => unknown;
      module[name] = (...args: unknown[]) => {
        seen.push(`${prefix}.${name}`);
        return original(...args);
      };
      return () => {
        module[name] = original;
      };
    });
}

/** Open file descriptors and active handles of this process, by what they are. */
export function handles(): Readonly<Record<string, number>> {
  const out: Record<string, number> = {};
  const count = (key: string) => {
    out[key] = (out[key] ?? 0) + 1;
  };
  for (const fd of fs.readdirSync('/proc/self/fd')) {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (!target.startsWith('/proc/')) count(`fd ${target.replace(/\[\d+\]$/, '[]')}`);
    } catch {
      // The descriptor that listed the folder.
    }
  }
  for (const resource of process.getActiveResourcesInfo()) if (resource !== 'Immediate') count(resource);
  return out;
}

/** What is in `now` and was not in `before`. */
export function beyond(now: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>): string[] {
  return Object.entries(now).flatMap(([key, n]) =>
    n > (before[key] ?? 0) ? [`${key} ×${n - (before[key] ?? 0)}`] : [],
  );
}

/** Waits until nothing is open beyond `before`. @returns what is still open after `limitMs`. */
export async function settledHandles(before: Readonly<Record<string, number>>, limitMs = 5000): Promise<string[]> {
  const start = performance.now();
  for (;;) {
    const more = beyond(handles(), before);
    // The timer of this very wait is a handle too, so look right after it has fired.
    if (more.length === 0 || performance.now() - start > limitMs) return more;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
