import type { PeerEntity, PodEntity } from '../../pipeline/batch.ts';
import type { AttributeValue } from '../../pipeline/catalogue.ts';
import { workloadOf } from '../../pipeline/workload.ts';
import type { PodConfig } from './config.ts';

/** What is added to the resource of a pod's data. */
export interface Enrichment {
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Takes the place of a `service.name` that says no more than the pod's name. */
  readonly serviceName: string;
}

type Selector = (key: string) => boolean;

/** Computes a pod's enrichment. What the API server says of it (`api`) goes before what the runtime was told when the pod was made. */
export type Enrich = (pod: PodEntity, api: PeerEntity | undefined) => Enrichment;

/** Makes the function. `onTooLong` is called for each value that is left out. */
export function enricher(config: PodConfig, nodeName: string, onTooLong: () => void): Enrich {
  const label = selector(config.labels);
  const annotation = selector(config.annotations);
  return (pod, api) => {
    const labels = api?.labels ?? pod.labels;
    const annotations = api?.annotations ?? pod.annotations;
    const attributes: Record<string, AttributeValue> = {};
    const add = (prefix: string, values: Readonly<Record<string, string>>, selects: Selector) => {
      for (const [key, value] of Object.entries(values)) {
        if (!selects(key)) continue;
        if (value.length > config.max_value_length) onTooLong();
        else attributes[prefix + key] = value;
      }
    };
    add('k8s.pod.label.', labels, label);
    add('k8s.pod.annotation.', annotations, annotation);
    let service = pod.name;
    if (config.workload && pod.namespace !== '') {
      const { kind, name, attributes: own } = api?.workload ?? workloadOf(pod, nodeName);
      Object.assign(attributes, own);
      attributes['skoop.workload.kind'] = kind;
      attributes['skoop.workload.name'] = name;
      service = name;
    }
    const named = annotations['resource.opentelemetry.io/service.name'];
    const composed = pod.namespace === '' ? labels['com.docker.compose.service'] : undefined;
    return Object.freeze({ attributes: Object.freeze(attributes), serviceName: named || composed || service });
  };
}

/** Keys by name, with `*` for any characters. */
function selector(patterns: readonly string[]): Selector {
  const exact = new Set(patterns.filter((p) => !p.includes('*')));
  const globs = patterns
    .filter((p) => p.includes('*'))
    .map((p) => new RegExp(`^${p.split('*').map(literal).join('.*')}$`));
  return (key) => exact.has(key) || globs.some((g) => g.test(key));
}

/** Makes text stand for itself in a regular expression. */
function literal(text: string): string {
  return text.replace(/[\\^$.|?+()[\]{}/]/g, '\\$&');
}
