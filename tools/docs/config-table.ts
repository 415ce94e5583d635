import { type ZodType, z } from 'zod';
import { code, table } from './markers.ts';

/** One key of a component's section, as users write it. */
export interface ConfigKey {
  /** `tls.cert_file`, `targets[].address`, `headers.<name>`. */
  readonly path: string;
  readonly type: string;
  /** As written in YAML; undefined when there is none. */
  readonly default: string | undefined;
  readonly required: boolean;
  readonly description: string;
}

/** The part of JSON Schema (2020-12) that zod writes for our schemas. */
interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

const durationText = /^0$|^(\d+(\.\d+)?(ns|us|ms|s|m|h|d))+$/;
const sizeText = /^\d+(\.\d+)?\s*(B|KiB|MiB|GiB|KB|MB|GB)$/;

/** Scalars as YAML's flow style shows them. */
function yamlOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(yamlOf).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([k, v]) => `${k}: ${yamlOf(v)}`);
    return entries.length ? `{ ${entries.join(', ')} }` : '{}';
  }
  return value === '' ? '""' : String(value);
}

function boundsOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): string {
  const low = minimum !== undefined ? `≥ ${minimum}` : exclusiveMinimum !== undefined ? `> ${exclusiveMinimum}` : '';
  const top = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? `≤ ${maximum}` : '';
  const high = exclusiveMaximum !== undefined ? `< ${exclusiveMaximum}` : top;
  const real = low === `≥ ${Number.MIN_SAFE_INTEGER}` ? '' : low;
  return [real, high].filter(Boolean).join(', ');
}

function typeOf(schema: JsonSchema): string {
  const alternatives = schema.anyOf ?? schema.oneOf;
  // A union's own default tells what kind of text is meant: `64MiB` or 67108864.
  if (typeof schema.default === 'string' && sizeText.test(schema.default)) return 'size';
  if (alternatives) return [...new Set(alternatives.map(typeOf))].join(' or ');
  if (schema.enum) return schema.enum.map((v) => code(yamlOf(v))).join(', ');
  if (schema.const !== undefined) return code(yamlOf(schema.const));
  if (schema.type === 'string' && typeof schema.default === 'string' && durationText.test(schema.default))
    return 'duration';
  if (schema.type === 'array') return `list of ${schema.items ? typeOf(schema.items) : 'anything'}`;
  if (schema.type === 'object') return schema.properties ? 'section' : 'map';
  if (schema.type === 'integer' || schema.type === 'number') {
    const bounds = boundsOf(schema);
    return bounds ? `${schema.type} ${bounds}` : schema.type;
  }
  return typeof schema.type === 'string' ? schema.type : 'anything';
}

function sectionsOf(schema: JsonSchema): readonly JsonSchema[] {
  const parts = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  return parts ? parts.filter((p) => p.type === 'object') : [schema];
}

function* keysBelow(schema: JsonSchema, prefix: string): Generator<ConfigKey> {
  for (const section of sectionsOf(schema)) {
    for (const [name, value] of Object.entries(section.properties ?? {})) {
      const path = `${prefix}${name}`;
      yield {
        path,
        type: typeOf(value),
        default: value.default === undefined ? undefined : yamlOf(value.default),
        required: section.required?.includes(name) === true && value.default === undefined,
        description: value.description ?? '',
      };
      yield* keysBelow(value, `${path}.`);
      if (value.items) yield* keysBelow(value.items, `${path}[].`);
      if (typeof value.additionalProperties === 'object') {
        yield* keysBelow(value.additionalProperties, `${path}.<name>.`);
      }
    }
  }
}

/** Every key of a component's section, depth first, in the order of its schema. */
export function configKeys(schema: ZodType): ConfigKey[] {
  // What users write, before transforms; what JSON Schema cannot say (refinements) is said in the descriptions.
  return [...keysBelow(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema, '')];
}

/** The README's table of a component's keys. */
export function configTable(schema: ZodType): string {
  const keys = configKeys(schema);
  if (keys.length === 0) return 'It has no keys.';
  return table(
    ['key', 'type', 'default', 'description'],
    keys.map((k) => [
      code(k.path),
      k.type,
      k.required ? '**required**' : k.default === undefined || k.default === '{}' ? '' : code(k.default),
      k.description,
    ]),
  );
}
