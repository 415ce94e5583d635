import { stringify } from 'yaml';
import type { ComponentDeclaration, ComponentRegistry } from '../pipeline/component.ts';
import { readConfigFile } from '../pipeline/config/file.ts';
import { inputSchema, type SchemaNode, typeText, withDefaults } from '../pipeline/config/keys.ts';
import { serviceSchema } from '../pipeline/config/service.ts';
import { didYouMean } from '../pipeline/config/suggest.ts';
import { type AgentConfig, type ComponentConfig, problemText, readConfig } from '../pipeline/config.ts';
import { type Command, type CommandIo, configFile, configOption, exitCodes } from './command.ts';

export const command: Command = {
  usage: '[--config FILE] | --defaults COMPONENT',
  about: [
    'Prints a config file with every default filled in. References to the environment are printed as they are',
    'written, since what they stand for may be secret.',
  ].join('\n'),
  options: {
    ...configOption,
    defaults: { type: 'string', value: 'COMPONENT', help: 'Instead: every key of one component, explained.' },
  },
  positionals: 1,
  examples: ['skoopline print-config --config pipeline.yaml', 'skoopline print-config --defaults otlp'],
  async run(args, io) {
    const type = args.values['defaults'];
    if (typeof type === 'string') return printDefaults(type, io);
    const file = configFile(args);
    const result = await readConfig(await readConfigFile(file), { file, registry: io.registry, env: io.env });
    for (const problem of result.problems) io.err(`${problemText(problem)}\n`);
    if (!result.ok) return exitCodes.config;
    io.out(stringify(filled(result.config), { lineWidth: 0, aliasDuplicateObjects: false }));
    return exitCodes.ok;
  },
};

function filled(config: AgentConfig): unknown {
  const section = (components: ReadonlyMap<string, ComponentConfig>) =>
    Object.fromEntries([...components].map(([id, c]) => [id, withDefaults(c.declaration.config, c.written)]));
  const pipelines = config.pipelines.map(({ id, receivers, processors, exporters }) => [
    id,
    { receivers, processors, exporters },
  ]);
  const service = withDefaults(serviceSchema, config.writtenService) as Record<string, unknown>;
  return {
    receivers: section(config.receivers),
    processors: section(config.processors),
    exporters: section(config.exporters),
    service: { ...service, pipelines: Object.fromEntries(pipelines) },
  };
}

async function printDefaults(type: string, io: CommandIo): Promise<number> {
  const sections: readonly (keyof ComponentRegistry)[] = ['receivers', 'processors', 'exporters'];
  let found = false;
  for (const section of sections) {
    const load = Object.hasOwn(io.registry[section], type) ? io.registry[section][type] : undefined;
    if (!load) continue;
    found = true;
    io.out(explained(section, (await load()).default));
  }
  if (found) return exitCodes.ok;
  const known = sections.flatMap((s) => Object.keys(io.registry[s]));
  io.err(`skoopline print-config: there is no component '${type}'${didYouMean(type, known)}.\n`);
  return exitCodes.failed;
}

/** A section of YAML that says of each key what it is for; keys without a default are comments. */
function explained(section: string, declaration: ComponentDeclaration): string {
  const lines = [`${section}:`, `  # ${declaration.summary}`, `  ${declaration.type}:`];
  lines.push(...keyLines(inputSchema(declaration.config), undefined, '    '));
  return `${lines.join('\n')}\n`;
}

function keyLines(schema: SchemaNode, given: unknown, indent: string): string[] {
  const lines: string[] = [];
  const above = typeof given === 'object' && given !== null ? (given as Record<string, unknown>) : {};
  for (const [key, node] of Object.entries(schema.properties ?? {})) {
    const value = above[key] ?? node.default;
    if (node.description) lines.push(`${indent}# ${node.description}`);
    if (node.properties) {
      const isOff = value === undefined;
      lines.push(`${indent}${isOff ? '# ' : ''}${key}:`, ...keyLines(node, value, `${indent}${isOff ? '#   ' : '  '}`));
    } else if (value === undefined) {
      const isRequired = schema.required?.includes(key) ?? false;
      lines.push(`${indent}# ${key}:   (${typeText(node)}${isRequired ? ', required' : ''})`);
    } else {
      const text = stringify({ [key]: value }, { lineWidth: 0 }).trimEnd();
      lines.push(...text.split('\n').map((line) => `${indent}${line}`));
    }
  }
  return lines;
}
