import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

/** One file of the page. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

/** The files of the page by path. Read when the first page is opened; run from source, they are bundled then. */
export async function loadAssets(): Promise<ReadonlyMap<string, Asset>> {
  const folder = join(import.meta.dirname, 'app');
  const files = import.meta.filename.endsWith('.ts')
    ? await (await import('./bundle.ts')).bundle(folder)
    : await readFolder(folder);
  return new Map([...files].map(([name, body]) => [`/${name}`, asset(name, body)]));
}

async function readFolder(folder: string): Promise<Map<string, Buffer>> {
  const names = (await readdir(folder)).filter((name) => extname(name) in types);
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)));
}

function asset(name: string, body: Buffer): Asset {
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  return { type: types[extname(name)]!, body, etag };
}
