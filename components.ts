import type { ComponentRegistry } from './pipeline/component.ts';

/**
 * Every component there is, by kind and type. Lazy: what no pipeline names is never loaded. A new component's folder is entered here and
 * nowhere else.
 */
export const components: ComponentRegistry = {
  receivers: {
    cri: () => import('./receivers/cri/index.ts'),
    ebpf: () => import('./receivers/ebpf/index.ts'),
    k8s: () => import('./receivers/k8s/index.ts'),
    netlink: () => import('./receivers/netlink/index.ts'),
    procfs: () => import('./receivers/procfs/index.ts'),
  },
  processors: {
    batch: () => import('./processors/batch/index.ts'),
    filter: () => import('./processors/filter/index.ts'),
    limit_series: () => import('./processors/limit_series/index.ts'),
    memory_limiter: () => import('./processors/memory_limiter/index.ts'),
    netns: () => import('./processors/netns/index.ts'),
    peer: () => import('./processors/peer/index.ts'),
    pod: () => import('./processors/pod/index.ts'),
    symbolize: () => import('./processors/symbolize/index.ts'),
  },
  exporters: {
    debug: () => import('./exporters/debug/index.ts'),
    file: () => import('./exporters/file/index.ts'),
    loki: () => import('./exporters/loki/index.ts'),
    otlp: () => import('./exporters/otlp/index.ts'),
    page: () => import('./exporters/page/index.ts'),
    prometheus: () => import('./exporters/prometheus/index.ts'),
    terminal: () => import('./exporters/terminal/index.ts'),
  },
};
