/** Reading JSON of which nothing is known: what is not as expected is not there. */

export type JsonObject = Readonly<Record<string, unknown>>;

export function asObject(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** A member that is an object; undefined where there is none. */
export function objectAt(value: JsonObject | undefined, key: string): JsonObject | undefined {
  return asObject(value?.[key]);
}

/** A member that is text and not empty. */
export function textAt(value: JsonObject | undefined, key: string): string | undefined {
  const text = value?.[key];
  return typeof text === 'string' && text !== '' ? text : undefined;
}

/** A member that is a list; empty where there is none. */
export function listAt(value: JsonObject | undefined, key: string): readonly unknown[] {
  const list = value?.[key];
  return Array.isArray(list) ? list : [];
}

/** A member that is a map of texts: what is no text is left out. */
export function textsAt(value: JsonObject | undefined, key: string): Readonly<Record<string, string>> {
  const entries = Object.entries(objectAt(value, key) ?? {}).filter(([, v]) => typeof v === 'string');
  return Object.fromEntries(entries) as Record<string, string>;
}
