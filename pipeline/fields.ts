import { z } from 'zod';

/**
 * Schema pieces that every component's config is made of, so that durations and sizes read the same everywhere.
 */

const durationUnits = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Parses `15s`, `1m30s`, `250ms` to milliseconds; undefined when it is not a duration. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0;
  const part = /(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)/gy;
  let ms = 0;
  let end = 0;
  for (let m = part.exec(text); m; m = part.exec(text)) {
    ms += Number(m[1]) * durationUnits[m[2] as keyof typeof durationUnits];
    end = part.lastIndex;
  }
  return end > 0 && end === text.length ? ms : undefined;
}

/** A duration such as `15s` or `1m30s`; the parsed value is milliseconds. `fallback` is written as a user would write it. */
export function duration(fallback: string) {
  return durationField().prefault(fallback);
}

/** A duration without a default. */
export function durationField() {
  return z.string({ error: 'expected a duration such as 15s, 1m30s or 250ms' }).transform((text, ctx) => {
    const ms = parseDurationMs(text);
    if (ms === undefined) {
      ctx.addIssue({ code: 'custom', message: `expected a duration such as 15s, 1m30s or 250ms, got '${text}'` });
      return z.NEVER;
    }
    return ms;
  });
}

const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, KB: 1e3, MB: 1e6, GB: 1e9 } as const;

/** Parses `64MiB`, `512KiB`, `1000` to bytes; undefined when it is not a size. */
export function parseBytes(text: string): number | undefined {
  const m = /^(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|KB|MB|GB)?$/.exec(text);
  return m ? Math.floor(Number(m[1]) * sizeUnits[(m[2] ?? 'B') as keyof typeof sizeUnits]) : undefined;
}

/** A size such as `64MiB`; the parsed value is bytes. */
export function bytes(fallback: string) {
  return z
    .union([z.string(), z.number().int().nonnegative()], { error: 'expected a size such as 64MiB' })
    .transform((v, ctx) => {
      const n = typeof v === 'number' ? v : parseBytes(v);
      if (n === undefined) {
        ctx.addIssue({ code: 'custom', message: `expected a size such as 64MiB, got '${v}'` });
        return z.NEVER;
      }
      return n;
    })
    .prefault(fallback);
}
