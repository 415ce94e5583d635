import { type ZodType, z } from 'zod';

/** One node of a config's JSON Schema, as far as the config code looks at it. */
export interface SchemaNode {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | SchemaNode;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly oneOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
}

const cache = new WeakMap<ZodType, SchemaNode>();

/** JSON Schema (draft 2020-12) of what a user may write for this config, with defaults as a user would write them. */
export function inputSchema(config: ZodType): SchemaNode {
  let schema = cache.get(config);
  if (!schema) {
    schema = z.toJSONSchema(config, { io: 'input', unrepresentable: 'any', reused: 'inline' }) as SchemaNode;
    cache.set(config, schema);
  }
  return schema;
}

/** One key of a config, for tables in documents and for help. */
export interface ConfigKey {
  /** Dotted: `sending_queue.storage`; `[]` stands for each item of a list, `*` for any key of a mapping. */
  readonly path: string;
  /** `string`, `integer`, `boolean`, `list of string`, `memory | disk`, ... */
  readonly type: string;
  /** As a user would write it; undefined where there is none. */
  readonly default: unknown;
  readonly description: string;
}

/** Every key that a config has, in its order, sections before what is in them. */
export function configKeys(config: ZodType): readonly ConfigKey[] {
  return keysOf(inputSchema(config), '');
}

function keysOf(schema: SchemaNode, prefix: string): ConfigKey[] {
  const out: ConfigKey[] = [];
  for (const variant of variantsOf(schema)) {
    for (const [key, inner] of Object.entries(variant.properties ?? {})) {
      const path = prefix ? `${prefix}.${key}` : key;
      if (out.some((k) => k.path === path)) continue;
      out.push({ path, type: typeText(inner), default: inner.default, description: inner.description ?? '' });
      out.push(...keysOf(inner, path));
    }
    const any = variant.additionalProperties;
    if (typeof any === 'object') out.push(...keysOf(any, `${prefix}.*`));
    if (variant.items) out.push(...keysOf(variant.items, `${prefix}[]`));
  }
  return out;
}

function variantsOf(schema: SchemaNode): readonly SchemaNode[] {
  return [schema, ...[...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])].flatMap(variantsOf)];
}

/** A type in words. */
export function typeText(schema: SchemaNode): string {
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum) return schema.enum.map(String).join(' | ');
  const variants = schema.anyOf ?? schema.oneOf;
  if (variants) return [...new Set(variants.map(typeText))].join(' | ');
  if (schema.type === 'array') return `list of ${schema.items ? typeText(schema.items) : 'anything'}`;
  if (schema.type === 'object') {
    const any = schema.additionalProperties;
    return typeof any === 'object' && !schema.properties ? `mapping to ${typeText(any)}` : 'section';
  }
  return typeof schema.type === 'string' ? schema.type : 'anything';
}

/** Names that are known at a path of a config: what a mistyped key may have meant. */
export function knownKeys(config: ZodType, path: readonly (string | number)[]): readonly string[] {
  let level = variantsOf(inputSchema(config));
  for (const step of path) {
    level = level.flatMap((schema) => {
      const any = schema.additionalProperties;
      const next =
        typeof step === 'number'
          ? schema.items
          : (schema.properties?.[step] ?? (typeof any === 'object' ? any : undefined));
      return next ? variantsOf(next) : [];
    });
  }
  return [...new Set(level.flatMap((schema) => Object.keys(schema.properties ?? {})))];
}

/** A user's section with every default filled in, as a user would write it. Lists and free mappings are left as they are. */
export function withDefaults(config: ZodType, section: unknown): unknown {
  return fill(inputSchema(config), section);
}

function fill(schema: SchemaNode, value: unknown): unknown {
  const start = value ?? structuredClone(schema.default);
  const isRecord = typeof start === 'object' && start !== null && !Array.isArray(start);
  if (!isRecord || !schema.properties) return start;
  const out: Record<string, unknown> = {};
  const given = start as Record<string, unknown>;
  for (const [key, inner] of Object.entries(schema.properties)) {
    const filled = fill(inner, given[key]);
    if (filled !== undefined) out[key] = filled;
  }
  for (const [key, v] of Object.entries(given)) if (!(key in out) && v !== undefined) out[key] = v;
  return out;
}
