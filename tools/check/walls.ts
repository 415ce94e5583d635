/**
 * The walls of the house: who may import whom, and the few other rules that a type checker cannot know. ARCHITECTURE.md draws
 * the table; here each refusal says why the wall is there, since a wall without a reason gets climbed.
 */
import { basename, dirname, extname, join, normalize } from 'node:path';

/** One refusal, as printed: `file:line: message`. */
export interface Breach {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

interface Import {
  readonly specifier: string;
  readonly line: number;
}

const importForms =
  /(?:^|[\s;}])(?:import|export)\s+(?:type\s+)?(?:[\w$*{}\s,]+?\s+from\s+)?['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]\s*\)/g;

/** Blanks out comments, keeping every line where it was, so that what stands in prose is not taken for code. */
export function withoutComments(source: string): string {
  const token = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return source.replace(token, (text) => (text.startsWith('/') ? text.replace(/[^\n]/g, ' ') : text));
}

/** Every import of a file: static, re-export, dynamic with a literal. `source` has no comments. */
export function importsOf(source: string): Import[] {
  const out: Import[] = [];
  for (const m of source.matchAll(importForms)) {
    const specifier = (m[1] ?? m[2])!;
    out.push({ specifier, line: source.slice(0, m.index + m[0].indexOf(specifier)).split('\n').length });
  }
  return out;
}

const componentRooms = ['receivers', 'processors', 'exporters'];
const productRooms = ['pipeline', 'view', 'host', 'bpf', 'cli', ...componentRooms];

const roomOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : file);
/** `receivers/procfs` for files of components, else the room. */
const unitOf = (file: string) => {
  const [room, second] = file.split('/');
  return componentRooms.includes(room!) ? `${room}/${second}` : room!;
};

const why = {
  engine: 'the engine knows no component and no kernel by name: what it needs is handed to it through its contracts',
  view: 'the view stands on batches alone, so that whoever gets batches can have one',
  host: 'host/ is the lowest floor: it opens doors to the machine and must not depend on what is built upon it',
  bpf: 'the loader serves every probe and must not know one of them',
  sibling: 'a component can be removed by deleting its folder; what two of them share belongs in pipeline/ or host/',
  direction: 'data flows receivers → processors → exporters through batches, never through imports',
  cli: 'cli/ starts the engine with the list of components and knows nothing inside them',
  list: 'components.ts names components by their index.ts and loads nothing deeper',
  shipped: 'tools, tests and benches are not shipped',
  koffi: 'a wrong signature crashes the process, so native calls stand behind the doors of host/ and nowhere else',
};

const packages: Readonly<Record<string, { readonly allowed: RegExp; readonly why: string }>> = {
  pipeline: {
    allowed: /^(node:|rxjs(\/|$)|yaml$|zod$|pino$|fast-check$|@opentelemetry\/)/,
    why: 'the engine stands on node, rxjs, yaml, zod, pino and the OpenTelemetry API alone',
  },
  view: { allowed: /^(node:|fast-check$)/, why: 'the view stands on node alone' },
  host: { allowed: /^(node:|koffi$|fast-check$)/, why: 'host/ stands on node and koffi alone' },
};

/** Why `file` may not import `target` (both relative to the root), or undefined when it may. */
function refusalOfImport(file: string, target: string): string | undefined {
  const from = roomOf(file);
  const to = roomOf(target);
  const test = file.endsWith('.test.ts');
  if (unitOf(file) === unitOf(target)) return undefined;
  if (['test', 'tools', 'bench', 'deploy'].includes(to)) return test ? undefined : why.shipped;
  if (target === 'package.json') return undefined;
  if (test && to === 'pipeline') return undefined;
  switch (from) {
    case 'pipeline':
      return why.engine;
    case 'view':
      return to === 'pipeline' ? undefined : why.view;
    case 'host':
      return target === 'pipeline/errors.ts' ? undefined : why.host;
    case 'bpf':
      return to === 'host' || to === 'pipeline' ? undefined : why.bpf;
    case 'receivers':
      if (['pipeline', 'host', 'bpf'].includes(to)) return undefined;
      return to === 'receivers' ? why.sibling : why.direction;
    case 'processors':
    case 'exporters':
      if (to === 'pipeline') return undefined;
      if (to === 'view' && from === 'exporters') return undefined;
      if (to === 'host' && (test || /symbol|kallsyms|proc-root/.test(target))) return undefined;
      if (to === from) return why.sibling;
      return to === 'host' ? `${why.direction}; of host/ only the kernel's symbols are theirs` : why.direction;
    case 'components.ts':
      return componentRooms.includes(to) && basename(target) === 'index.ts'
        ? undefined
        : to === 'pipeline'
          ? undefined
          : why.list;
    case 'cli':
      return to === 'pipeline' || to === 'view' || target === 'components.ts' ? undefined : why.cli;
    default:
      return undefined;
  }
}

function importBreaches(file: string, code: string): Breach[] {
  const out: Breach[] = [];
  const room = roomOf(file);
  const product = productRooms.includes(room) || file === 'components.ts';
  for (const { specifier, line } of importsOf(code)) {
    if (specifier === 'koffi' && room !== 'host' && product) {
      out.push({ file, line, message: `koffi may be imported in host/ only: ${why.koffi}` });
    } else if (specifier.startsWith('.')) {
      const target = normalize(join(dirname(file), specifier));
      const refusal = product ? refusalOfImport(file, target) : undefined;
      if (refusal) out.push({ file, line, message: `${unitOf(file)} may not import ${target}: ${refusal}` });
    } else {
      const rule = packages[room];
      if (rule && !rule.allowed.test(specifier) && !(file.endsWith('.test.ts') && specifier.startsWith('node:'))) {
        out.push({ file, line, message: `${room}/ may not import ${specifier}: ${rule.why}` });
      }
    }
  }
  return out;
}

/** Operators that queue without bound when their source is faster than what they wait for. */
const unbounded = new Set(['mergeMap', 'flatMap', 'concatMap', 'bufferTime', 'observeOn', 'groupBy', 'delayWhen']);

/** Those of them that a file takes from rxjs; arrays and maps have methods of the same names. */
function unboundedOperators(code: string): RegExp | undefined {
  const names = [...code.matchAll(/import\s*\{([^}]*)\}\s*from 'rxjs(?:\/\w+)?'/g)]
    .flatMap((m) => m[1]!.split(','))
    .map((name) => name.trim().replace(/ as .*/, ''))
    .filter((name) => unbounded.has(name));
  return names.length ? new RegExp(`(?<![.\\w])(${names.join('|')})\\(`) : undefined;
}

function lineBreaches(file: string, source: string, code: string): Breach[] {
  const room = roomOf(file);
  if (!productRooms.includes(room) || file.endsWith('.test.ts')) return [];
  const out: Breach[] = [];
  const readsFiles = /from 'node:fs(\/promises)?'/.test(code);
  const operators = unboundedOperators(code);
  code.split('\n').forEach((text, i) => {
    const line = i + 1;
    if (room !== 'host' && readsFiles && /(['"`])\/(proc|sys)(\/|\1)/.test(text)) {
      out.push({
        file,
        line,
        message: "/proc and /sys are read through host's ProcRoot only, so that captured hosts are tests",
      });
    }
    if (room !== 'cli' && /\bprocess\.exit\(/.test(text)) {
      out.push({
        file,
        line,
        message: 'only cli/ may end the process: after start, a failure is a value that is counted',
      });
    }
    const operator = operators?.exec(text)?.[1];
    if (operator && !/\/\/ bounded: /.test(source)) {
      const message = `${operator} buffers without bound; use the queue, or say in a comment \`// bounded: why\` what bounds it`;
      out.push({ file, line, message });
    }
  });
  return out;
}

function fileBreaches(file: string, source: string): Breach[] {
  const out: Breach[] = [];
  const stem = basename(file, extname(file));
  if (/^(utils?|helpers?|common|misc|manager)$/.test(stem)) {
    out.push({
      file,
      line: 1,
      message: `a file named ${stem} says nothing of what it holds, so everything ends up in it`,
    });
  }
  const lines = source.split('\n').length - 1;
  const most = file.endsWith('.test.ts') ? 600 : 400;
  if (lines > most)
    out.push({ file, line: most, message: `${lines} lines; files of more than ${most} hold more than one thing` });
  return out;
}

/** Every breach of one TypeScript file. @param file path relative to the root, with `/`. */
export function breachesOf(file: string, source: string): Breach[] {
  const code = withoutComments(source);
  return [...fileBreaches(file, source), ...importBreaches(file, code), ...lineBreaches(file, source, code)];
}

/** Components that lack a file every component has, so that the second folder one opens takes ten seconds. */
export function missingFiles(files: readonly string[]): Breach[] {
  const units = new Set(files.map(unitOf).filter((u) => /^(receivers|processors|exporters)\/[a-z0-9_]+$/.test(u)));
  const have = new Set(files);
  return [...units].flatMap((unit) =>
    ['index.ts', 'config.ts', 'README.md']
      .filter((name) => !have.has(`${unit}/${name}`))
      .map((name) => ({
        file: `${unit}/${name}`,
        line: 1,
        message: 'is missing: every component has index.ts, config.ts and README.md',
      })),
  );
}
