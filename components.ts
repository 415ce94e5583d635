import type { ComponentRegistry } from './pipeline/component.ts';

/**
 * Every component there is, by kind and type. Lazy: what no pipeline names is never loaded. A new component's folder is entered here and
 * nowhere else.
 */
export const components: ComponentRegistry = {
  receivers: {
    cri: () => import('./receivers/cri/index.ts'),
    netlink: () => import('./receivers/netlink/index.ts'),
  },
  processors: {
    filter: () => import('./processors/filter/index.ts'),
    netns: () => import('./processors/netns/index.ts'),
    pod: () => import('./processors/pod/index.ts'),
  },
  exporters: {
    otlp: () => import('./exporters/otlp/index.ts'),
    prometheus: () => import('./exporters/prometheus/index.ts'),
  },
};
