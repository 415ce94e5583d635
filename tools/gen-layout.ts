/**
 * Writes bpf/gen/<probe>.layout.json and <probe>.gen.ts from .output/bpf/<probe>.bpf.o. Called by bpf/build.sh.
 *
 *   node tools/gen-layout.ts [NAME...]     writes what changed
 *   node tools/gen-layout.ts --check       fails when a committed file is not what the object says
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FieldLayout, layoutHash, layoutOf, type ObjectLayout } from '../bpf/layout.ts';

const root = join(import.meta.dirname, '..');
const objects = join(root, '.output/bpf');
const generated = join(root, 'bpf/gen');

/** Structs that are read as one value. */
const wholes: Readonly<Record<string, string>> = { skl_tuple: 'FlowTuple' };
/** Structs that each decoder nests and nobody decodes alone. */
const nestedOnly: ReadonlySet<string> = new Set(['skl_tuple', 'skl_owner']);

const pascal = (name: string) => name.replace(/(^|_)([a-z0-9])/g, (_, __, c: string) => c.toUpperCase());
const camel = (name: string) => name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
const isPadding = (f: FieldLayout) => /^_pad/.test(f.name);

class Emitter {
  readonly #layout: ObjectLayout;
  readonly used = new Set<string>();

  constructor(layout: ObjectLayout) {
    this.#layout = layout;
  }

  #use(name: string): string {
    this.used.add(name);
    return name;
  }

  type(f: FieldLayout): string {
    const struct = /^struct (.*)$/.exec(f.type)?.[1];
    if (struct !== undefined) {
      const one = wholes[struct];
      return `${one === undefined ? pascal(struct) : this.#use(`type ${one}`).slice(5)}${f.length === undefined ? '' : '[]'}`;
    }
    if (f.type === 'char' || f.type === 'skl_comm' || f.type === 'skl_ifname') return 'string';
    if (f.type === 'skl_kaddr') return f.length === undefined ? 'string' : 'string[]';
    return f.length === undefined ? 'number' : 'number[]';
  }

  #number(f: FieldLayout, offset: string): string {
    const signed = f.type.startsWith('s') && !f.type.startsWith('skl_');
    if (f.size === 8) return `${this.#use(signed ? 's64' : 'u64')}(view, ${offset})`;
    if (f.size === 4) return signed ? `view.data.getInt32(${offset}, true)` : `view.u32[(${offset}) >>> 2]!`;
    if (f.size === 2) return `view.data.get${signed ? 'Int' : 'Uint'}16(${offset}, true)`;
    return signed ? `view.data.getInt8(${offset})` : `view.u8[${offset}]!`;
  }

  value(f: FieldLayout, base: number, indent: string): string {
    const at = base + f.offset === 0 ? 'at' : `at + ${base + f.offset}`;
    const struct = /^struct (.*)$/.exec(f.type)?.[1];
    if (struct !== undefined) {
      if (f.length !== undefined) throw new Error(`${f.name}: arrays of structs are not supported`);
      return wholes[struct] === undefined
        ? this.object(struct, base + f.offset, indent)
        : `${this.#use('tuple')}(view, ${at})`;
    }
    if (f.type === 'char' || f.type === 'skl_comm' || f.type === 'skl_ifname') {
      return `${this.#use('text')}(view, ${at}, ${f.size * (f.length ?? 1)})`;
    }
    if (f.type === 'skl_kaddr') {
      return f.length === undefined
        ? `${this.#use('kaddr')}(view, ${at})`
        : `${this.#use('kaddrs')}(view, ${at}, ${f.length})`;
    }
    if (f.length === undefined) return this.#number(f, at);
    if (f.size === 8) return `${this.#use('u64s')}(view, ${at}, ${f.length})`;
    return `Array.from({ length: ${f.length} }, (_, i) => ${this.#number(f, `${at} + ${f.size} * i`)})`;
  }

  object(struct: string, base: number, indent: string): string {
    const lines = this.#layout.structs[struct]!.fields.filter((f) => !isPadding(f)).map(
      (f) => `${indent}  ${camel(f.name)}: ${this.value(f, base, `${indent}  `)},`,
    );
    return `{\n${lines.join('\n')}\n${indent}}`;
  }

  offsets(struct: string, base = 0, prefix = ''): string[] {
    return this.#layout.structs[struct]!.fields.filter((f) => !isPadding(f)).flatMap((f) => {
      const nested = /^struct (.*)$/.exec(f.type)?.[1];
      const own = `'${prefix}${f.name}': ${base + f.offset}`;
      return nested === undefined ? [own] : [own, ...this.offsets(nested, base + f.offset, `${prefix}${f.name}.`)];
    });
  }
}

function typescript(name: string, layout: ObjectLayout): string {
  const emitter = new Emitter(layout);
  const names = Object.keys(layout.structs);
  const interfaces = names
    .filter((n) => wholes[n] === undefined)
    .map((n) => {
      const fields = layout.structs[n]!.fields.filter((f) => !isPadding(f)).map(
        (f) => `  readonly ${camel(f.name)}: ${emitter.type(f)};`,
      );
      return `export interface ${pascal(n)} {\n${fields.join('\n')}\n}\n`;
    });
  const codecs = names
    .filter((n) => !nestedOnly.has(n))
    .map((n) =>
      [
        `export const ${camel(n)}: Codec<${pascal(n)}> = {`,
        `  name: '${n}',`,
        `  size: ${layout.structs[n]!.size},`,
        `  offsets: { ${emitter.offsets(n).join(', ')} },`,
        `  decode: (view: View, at: number): ${pascal(n)} => (${emitter.object(n, 0, '  ')}),`,
        '};\n',
      ].join('\n'),
    );
  const imports = ['type Codec', 'type View', ...emitter.used].sort((a, b) =>
    a.replace('type ', '').localeCompare(b.replace('type ', '')),
  );
  return [
    `// Generated by tools/gen-layout.ts from ${name}.bpf.o. Do not edit: run bpf/build.sh.`,
    `import { ${imports.join(', ')} } from '../record.ts';\n`,
    '/** Compared with the object when it is loaded. */',
    `export const layoutHash = '${layoutHash(layout)}';\n`,
    ...interfaces,
    ...codecs,
  ].join('\n');
}

function main(args: readonly string[]): number {
  const check = args.includes('--check');
  const wanted = args.filter((a) => !a.startsWith('--'));
  const names =
    wanted.length > 0
      ? wanted
      : readdirSync(objects)
          .filter((f) => f.endsWith('.bpf.o'))
          .map((f) => f.slice(0, -6));
  const existing = names.filter((n) => existsSync(join(root, 'bpf', `${n}.bpf.c`)));
  mkdirSync(generated, { recursive: true });
  let bad = 0;
  for (const name of existing.sort()) {
    try {
      const layout = layoutOf(readFileSync(join(objects, `${name}.bpf.o`)));
      const files = {
        [`${name}.layout.json`]: `${JSON.stringify({ hash: layoutHash(layout), ...layout }, null, 2)}\n`,
        [`${name}.gen.ts`]: typescript(name, layout),
      };
      for (const [file, content] of Object.entries(files)) {
        const path = join(generated, file);
        if (existsSync(path) && readFileSync(path, 'utf8') === content) continue;
        if (check) {
          console.error(`bpf/gen/${file} is not what ${name}.bpf.o says. Run bpf/build.sh and commit the result.`);
          bad++;
        } else {
          writeFileSync(path, content);
          console.log(`  GEN  bpf/gen/${file}`);
        }
      }
    } catch (error) {
      console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      bad++;
    }
  }
  return bad === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
