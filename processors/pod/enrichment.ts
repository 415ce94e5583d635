import type { PodEntity } from '../../pipeline/batch.ts';
import type { AttributeValue } from '../../pipeline/catalogue.ts';
import type { PodConfig } from './config.ts';
import { workloadOf } from './workload.ts';

/** What is added to the resource of a pod's data. */
export interface Enrichment {
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Takes the place of a `service.name` that says no more than the pod's name. */
  readonly serviceName: string;
}

type Selector = (key: string) => boolean;

/** Makes the function that computes a pod's enrichment. `onTooLong` is called for each value that is left out. */
export function enricher(config: PodConfig, nodeName: string, onTooLong: () => void): (pod: PodEntity) => Enrichment {
  const label = selector(config.labels);
  const annotation = selector(config.annotations);
  return (pod) => {
    const attributes: Record<string, AttributeValue> = {};
    const add = (prefix: string, values: Readonly<Record<string, string>>, selects: Selector) => {
      for (const [key, value] of Object.entries(values)) {
        if (!selects(key)) continue;
        if (value.length > config.max_value_length) onTooLong();
        else attributes[prefix + key] = value;
      }
    };
    add('k8s.pod.label.', pod.labels, label);
    add('k8s.pod.annotation.', pod.annotations, annotation);
    let service = pod.name;
    if (config.workload && pod.namespace !== '') {
      const workload = workloadOf(pod);
      // A static pod's name ends with its node's name, which this processor knows and the pod does not tell.
      const name = workload.kind === 'StaticPod' ? withoutSuffix(workload.name, `-${nodeName}`) : workload.name;
      Object.assign(attributes, workload.attributes);
      attributes['skoop.workload.kind'] = workload.kind;
      attributes['skoop.workload.name'] = name;
      service = name;
    }
    const named = pod.annotations['resource.opentelemetry.io/service.name'];
    const composed = pod.namespace === '' ? pod.labels['com.docker.compose.service'] : undefined;
    return Object.freeze({ attributes: Object.freeze(attributes), serviceName: named || composed || service });
  };
}

function withoutSuffix(text: string, suffix: string): string {
  return text.endsWith(suffix) && text.length > suffix.length ? text.slice(0, -suffix.length) : text;
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
