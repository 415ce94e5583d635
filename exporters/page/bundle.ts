import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes the files that a browser gets from app/: one script and one style sheet with the libraries in them, and the libraries' licences. Used by
 * `make build`, and on the fly where the agent runs from source; what is built does not need esbuild.
 */
export async function bundle(folder: string): Promise<Map<string, Buffer>> {
  const { build, stop } = await import('esbuild');
  const result = await build({
    absWorkingDir: folder,
    entryPoints: { app: join(folder, 'main.ts') },
    outdir: folder,
    bundle: true,
    write: false,
    minify: true,
    metafile: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
    tsconfig: join(folder, 'tsconfig.json'),
  });
  await stop();
  const files = new Map(result.outputFiles.map((f) => [f.path.slice(folder.length + 1), Buffer.from(f.contents)]));
  for (const name of ['index.html', 'icon.svg']) files.set(name, readFileSync(join(folder, name)));
  files.set(
    'licenses.txt',
    Buffer.from(licenses(Object.keys(result.metafile.inputs).map((path) => join(folder, path)))),
  );
  return files;
}

/** The licence of each library of which something is in the bundle. */
function licenses(inputs: readonly string[]): string {
  const packages = new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  return [...packages]
    .sort()
    .map((path) => {
      const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Record<string, string>;
      const [file] = globSync(join(path, '{LICENSE,LICENCE,license}*'));
      if (!file) throw new Error(`${name} has no licence file: it cannot be part of the page.`);
      return `${name} ${version}\n\n${readFileSync(file, 'utf8').trim()}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}
