import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const componentKinds = ['receiver', 'processor', 'exporter'] as const;
export type ComponentKind = (typeof componentKinds)[number];

const templates = join(import.meta.dirname, '../templates');

/** `tcp_info` → `TcpInfo`. */
const pascal = (name: string) => name.replace(/(^|_)([a-z0-9])/g, (_, __, c: string) => c.toUpperCase());

/**
 * The list of components with one more entry, in alphabetical order within its kind.
 *
 * @throws Error when the list has not the shape that is expected: better no line than a wrong one.
 */
export function withEntry(list: string, kind: ComponentKind, name: string): string {
  const lines = list.split('\n');
  const start = lines.findIndex((l) => new RegExp(`^\\s*${kind}s:\\s*\\{\\s*$`).test(l));
  if (start === -1) throw new Error(`components.ts has no line '${kind}s: {'; add the entry yourself.`);
  const indent = `${/^\s*/.exec(lines[start]!)![0]}  `;
  let at = start + 1;
  for (let i = start + 1; i < lines.length && !/^\s*\}/.test(lines[i]!); i++) {
    const key = /^\s*'?([a-z0-9_]+)'?:/.exec(lines[i]!)?.[1];
    // Comments and line breaks belong to the entry that they stand before or in.
    if (key !== undefined && key < name) at = i + 1;
  }
  return lines.toSpliced(at, 0, `${indent}${name}: () => import('./${kind}s/${name}/index.ts'),`).join('\n');
}

/**
 * Makes the folder from its template and adds the component to components.ts.
 *
 * @returns the files written, relative to `root`.
 * @throws Error with one sentence when the name is not one or the folder exists.
 */
export function createComponent(root: string, kind: ComponentKind, name: string): string[] {
  if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) {
    throw new Error(`'${name}' is no name for a component: lower_snake_case, as it is to stand in pipeline.yaml.`);
  }
  const folder = `${kind}s/${name}`;
  if (existsSync(join(root, folder))) throw new Error(`${folder} exists already.`);
  const list = join(root, 'components.ts');
  const listed = withEntry(readFileSync(list, 'utf8'), kind, name);

  const values: Record<string, string> = { name, Name: pascal(name), dotted: name.replaceAll('_', '.') };
  mkdirSync(join(root, folder), { recursive: true });
  const written = readdirSync(join(templates, kind)).map((template) => {
    const text = readFileSync(join(templates, kind, template), 'utf8');
    const file = `${folder}/${template.replace(/\.template$/, '')}`;
    writeFileSync(
      join(root, file),
      text.replace(/\{\{(\w+)\}\}/g, (_, key: string) => values[key]!),
    );
    return file;
  });
  writeFileSync(list, listed);
  return [...written, 'components.ts'];
}
