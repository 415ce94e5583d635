import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { components } from '../../components.ts';
import type {
  ComponentDeclaration,
  ExporterDeclaration,
  ProcessorDeclaration,
  ReceiverDeclaration,
} from '../../pipeline/component.ts';

/** The root of the working copy. */
export const root = resolve(import.meta.dirname, '../..');

/** A component that components.ts lists, and its folder. */
export interface Listed<D extends ComponentDeclaration = ComponentDeclaration> {
  readonly name: string;
  readonly folder: string;
  readonly files: readonly string[];
  readonly declaration: D;
}

async function listed<D extends ComponentDeclaration>(section: keyof typeof components): Promise<Listed<D>[]> {
  const out: Listed<D>[] = [];
  for (const [name, load] of Object.entries(components[section])) {
    const folder = `${section}/${name}`;
    const declaration = (await load()).default as unknown as D;
    out.push({ name, folder, files: readdirSync(join(root, folder)), declaration });
  }
  return out;
}

export const receivers = await listed<ReceiverDeclaration>('receivers');
export const processors = await listed<ProcessorDeclaration>('processors');
export const exporters = await listed<ExporterDeclaration>('exporters');
export const all: readonly Listed[] = [...receivers, ...processors, ...exporters];

/** Folders that look like components, listed or not. */
export function foldersOf(section: keyof typeof components): string[] {
  return readdirSync(join(root, section)).filter((name) => existsSync(join(root, section, name, 'index.ts')));
}

/**
 * Configs for what a component needs to be told (a path), and for what is not to be done in a test: listening on every address,
 * writing to standard output, sending to somebody. Everything else is at its default.
 */
export function testConfig(name: string, directory: string): Record<string, unknown> {
  const configs: Readonly<Record<string, Record<string, unknown>>> = {
    prometheus: { endpoint: '127.0.0.1:0' },
    page: { endpoint: '127.0.0.1:0' },
    file: { path: join(directory, 'events.log') },
    otlp: { endpoint: 'http://127.0.0.1:9' },
    terminal: { mode: 'plain' },
    loki: { endpoint: 'http://127.0.0.1:9' },
    k8s: { kubeconfig: join(import.meta.dirname, 'testdata/kubeconfig.yaml') },
  };
  return configs[name] ?? {};
}
