/** Files that credentials come from, for tests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';

/** A folder that is gone after the test. */
export function folderOf(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'skl-k8s-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Path of a kubeconfig with one context. */
export function kubeconfigOf(t: Pick<TestContext, 'after'>, cluster: object, user: object = {}): string {
  const path = join(folderOf(t), 'config');
  const whole = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user }],
  };
  writeFileSync(path, stringify(whole));
  return path;
}
