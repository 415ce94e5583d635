import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Whether golden files are to be written: `GOLDEN=update` or `make golden`. Never under CI, where a golden file is the judge. */
export function updating(env: NodeJS.ProcessEnv = process.env): boolean {
  const asked = env['GOLDEN'] === 'update' || env['UPDATE_GOLDEN'] === '1';
  if (asked && env['CI'] === 'true') throw new Error('Golden files are not written under CI=true.');
  return asked;
}

/** Fails when `actual` is not what the file holds; writes it when {@link updating}. */
export function matchesGolden(file: string, actual: string): void {
  if (updating()) {
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file) || readFileSync(file, 'utf8') !== actual) {
      writeFileSync(file, actual);
      console.log(`wrote ${file}`);
    }
    return;
  }
  assert.ok(existsSync(file), `${file} is missing: write it with GOLDEN=update and look at it`);
  assert.equal(
    actual,
    readFileSync(file, 'utf8'),
    `${file} differs; if that is meant, write it anew with GOLDEN=update`,
  );
}
