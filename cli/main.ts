#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { components } from '../components.ts';
import { dispatch } from './dispatch.ts';
import { keepYoungGenerationSmall } from './heap.ts';

/** The version of the package this file is part of, whether run from source or from dist/. */
function packageVersion(): string {
  for (const place of ['../package.json', '../../package.json']) {
    try {
      const found = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8'));
      if (found.name === 'skoopline') return String(found.version);
    } catch {
      // Not this one.
    }
  }
  return 'unknown';
}

// Before anything is loaded: what that makes is the first burst that it would grow by.
keepYoungGenerationSmall();
process.exitCode = await dispatch(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  version: packageVersion(),
  registry: components,
});
