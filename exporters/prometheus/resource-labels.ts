import type { Resource, Scope } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { type AdditionalLabel, additionalValue } from './additional-labels.ts';
import { labelText } from './escape.ts';
import { makeRow, type Row } from './layout.ts';
import { type Label, labelName, labelsOf } from './naming.ts';
import { encodeLabels } from './protobuf.ts';

/**
 * The labels that a resource (a pod, the node) puts on each of its series, rendered once per resource and kept as long as the
 * resource object lives.
 */
export interface Tail {
  readonly labels: readonly Label[];
  /** The labels' text: equal keys mean that two resources cannot be told apart in the exposition. */
  readonly key: string;
  /** What follows a row with labels of its own: `,k8s_pod_name="a"} `. */
  readonly joined: Buffer;
  /** What follows a bare metric name: `{k8s_pod_name="a"} `. */
  readonly alone: Buffer;
  /** `LabelPair` fields of a protobuf `Metric`. */
  readonly protobuf: Buffer;
  /** The same resource without these labels, for rows that have labels of the same name. */
  without(names: readonly string[]): Tail;
}

export interface ResourceLabelsOptions {
  readonly naming: 'otel' | 'kubeskoop';
  /** Attribute keys that become labels; a trailing `*` stands for any rest. */
  readonly resourceLabels: readonly string[];
  /** The same for resources that are no pod. */
  readonly anonymousLabels: readonly string[];
  readonly additionalLabels: readonly AdditionalLabel[];
  readonly constLabels: Readonly<Record<string, string>>;
  readonly scopeLabels: boolean;
  /** `k8s.node.name` where the resource lacks it. */
  readonly nodeName: string;
}

const kubeskoopLabels = [
  ['k8s_node', 'k8s.node.name'],
  ['k8s_namespace', 'k8s.namespace.name'],
  ['k8s_pod', 'k8s.pod.name'],
] as const;

export class ResourceLabels {
  readonly #options: ResourceLabelsOptions;
  readonly #select: (key: string) => boolean;
  readonly #selectAnonymous: (key: string) => boolean;
  readonly #tails = new WeakMap<Resource, Tail>();
  readonly #infos = new WeakMap<Resource, Row>();
  readonly #scoped = new WeakMap<Scope, WeakMap<Resource, Tail>>();
  /** Every label name that a resource can bring, so that rows know which of theirs would be there twice. */
  readonly names: ReadonlySet<string>;

  constructor(options: ResourceLabelsOptions) {
    this.#options = options;
    this.#select = selector(options.resourceLabels);
    this.#selectAnonymous = selector([...options.resourceLabels, ...options.anonymousLabels]);
    this.names = new Set([
      ...(options.naming === 'kubeskoop'
        ? kubeskoopLabels.map(([label]) => label)
        : [...options.resourceLabels, ...options.anonymousLabels].filter((k) => !k.endsWith('*')).map(labelName)),
      ...options.additionalLabels.map((l) => l.name),
      ...Object.keys(options.constLabels),
      ...(options.scopeLabels ? ['otel_scope_name', 'otel_scope_version'] : []),
    ]);
  }

  /** The labels of one resource's series. */
  tail(resource: Resource, scope: Scope): Tail {
    let cache = this.#tails;
    if (this.#options.scopeLabels) {
      cache = this.#scoped.get(scope) ?? new WeakMap();
      this.#scoped.set(scope, cache);
    }
    let tail = cache.get(resource);
    if (!tail) {
      tail = makeTail(this.#labels(resource.attributes, scope));
      cache.set(resource, tail);
    }
    return tail;
  }

  /** The resource's row of `target_info`: its identity and everything else that is known of it. */
  targetInfo(resource: Resource, tail: Tail): Row {
    let row = this.#infos.get(resource);
    if (!row) {
      const taken = new Set(tail.labels.map((l) => l.name));
      const rest = labelsOf(resource.attributes).filter((l) => !taken.has(l.name));
      row = makeRow([...tail.labels, ...rest], 0, undefined, new Set());
      this.#infos.set(resource, row);
    }
    return row;
  }

  #labels(attributes: Attributes, scope: Scope): Label[] {
    const { naming, additionalLabels, constLabels, scopeLabels, nodeName } = this.#options;
    const out = new Map<string, string>();
    const add = (l: Label) => {
      if (!out.has(l.name)) out.set(l.name, l.value);
    };
    const withNode: Attributes = { 'k8s.node.name': nodeName, ...attributes };
    if (naming === 'kubeskoop') {
      // Node series have empty labels, as KubeSkoop's have (its documentation says `hostNetwork`, its code does not).
      for (const [label, key] of kubeskoopLabels) add({ name: label, value: String(withNode[key] ?? '') });
    } else {
      const select = attributes['k8s.pod.name'] === undefined ? this.#selectAnonymous : this.#select;
      labelsOf(Object.fromEntries(Object.entries(withNode).filter(([k]) => select(k)))).forEach(add);
    }
    for (const l of additionalLabels) add({ name: l.name, value: additionalValue(l, attributes) });
    if (scopeLabels) {
      add({ name: 'otel_scope_name', value: scope.name });
      if (scope.version !== undefined) add({ name: 'otel_scope_version', value: scope.version });
    }
    for (const [name, value] of Object.entries(constLabels)) add({ name, value });
    return Array.from(out, ([name, value]) => ({ name, value }));
  }
}

function selector(keys: readonly string[]): (key: string) => boolean {
  const exact = new Set(keys.filter((k) => !k.endsWith('*')));
  const prefixes = keys.filter((k) => k.endsWith('*')).map((k) => k.slice(0, -1));
  return (key) => exact.has(key) || prefixes.some((p) => key.startsWith(p));
}

export function makeTail(labels: readonly Label[]): Tail {
  const key = labelText(labels);
  const reduced = new Map<string, Tail>();
  return {
    labels,
    key,
    joined: Buffer.from(key === '' ? '} ' : `,${key}} `),
    alone: Buffer.from(key === '' ? ' ' : `{${key}} `),
    protobuf: encodeLabels(labels),
    without: (names) => {
      const id = names.join();
      let tail = reduced.get(id);
      if (!tail) {
        tail = makeTail(labels.filter((l) => !names.includes(l.name)));
        reduced.set(id, tail);
      }
      return tail;
    },
  };
}
