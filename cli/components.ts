import type { ComponentDeclaration, ComponentKind, ComponentRegistry } from '../pipeline/component.ts';
import { configKeys } from '../pipeline/config/keys.ts';
import { messageOf } from '../pipeline/errors.ts';
import { type Command, exitCodes } from './command.ts';

const kinds: readonly (keyof ComponentRegistry)[] = ['receivers', 'processors', 'exporters'];

export const command: Command = {
  usage: '[--json]',
  about: 'Lists every receiver, processor and exporter there is, with how settled it is and what it is for.',
  options: {
    json: { type: 'boolean', help: 'As JSON, with signals, config keys, metrics and events of each.' },
  },
  positionals: 0,
  examples: ['skoopline components', 'skoopline print-config --defaults prometheus     the config keys of one'],
  async run(args, io) {
    const all = await loadAll(io.registry);
    const broken = all.filter((c) => c.error !== undefined);
    if (args.values['json'] === true) {
      io.out(
        `${JSON.stringify(
          all.flatMap((c) => (c.declaration ? [describe(c.declaration)] : [])),
          undefined,
          2,
        )}\n`,
      );
    } else {
      const name = Math.max(...all.map((c) => c.type.length));
      const width = Math.max(...all.map((c) => c.declaration?.stability.length ?? 0));
      for (const kind of kinds) {
        io.out(`${kind}:\n`);
        for (const { type, declaration: d } of all.filter((c) => c.section === kind && c.declaration)) {
          io.out(`  ${type.padEnd(name)}  ${d!.stability.padEnd(width)}  ${d!.summary}\n`);
        }
      }
    }
    for (const { type, error } of broken) io.err(`${type} cannot be loaded: ${error}\n`);
    return broken.length > 0 ? exitCodes.failed : exitCodes.ok;
  },
};

interface Loaded {
  readonly section: keyof ComponentRegistry;
  readonly type: string;
  readonly declaration?: ComponentDeclaration;
  readonly error?: string;
}

async function loadAll(registry: ComponentRegistry): Promise<Loaded[]> {
  const out: Loaded[] = [];
  for (const section of kinds) {
    for (const [type, load] of Object.entries(registry[section])) {
      try {
        out.push({ section, type, declaration: (await load()).default });
      } catch (error) {
        out.push({ section, type, error: messageOf(error) });
      }
    }
  }
  return out;
}

function describe(d: ComponentDeclaration): {
  readonly kind: ComponentKind;
  readonly type: string;
  readonly [more: string]: unknown;
} {
  return {
    kind: d.kind,
    type: d.type,
    stability: d.stability,
    summary: d.summary,
    ...(d.kind === 'processor' ? {} : { signals: d.signals }),
    config: configKeys(d.config),
    metrics: d.metrics ?? [],
    events: d.events ?? [],
  };
}
