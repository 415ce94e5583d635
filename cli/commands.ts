import type { Command } from './command.ts';

/** The commands there are, in the order of the help. Lazy: only the one that is asked for is loaded. */
export const commands: Readonly<
  Record<string, { readonly summary: string; readonly load: () => Promise<{ readonly command: Command }> }>
> = {
  run: { summary: 'Run a pipeline until told to stop.', load: () => import('./run.ts') },
  validate: { summary: 'Check a pipeline; touches nothing.', load: () => import('./validate.ts') },
  components: {
    summary: 'List receivers, processors and exporters.',
    load: () => import('./components.ts'),
  },
  'print-config': {
    summary: 'Print a pipeline with every default filled in.',
    load: () => import('./print-config.ts'),
  },
  doctor: {
    summary: 'Tell what this machine lets the agent see, and what it costs.',
    load: () => import('./doctor.ts'),
  },
  top: { summary: 'Show pods of this node by trouble, in a terminal.', load: () => import('./top.ts') },
  events: { summary: 'Print network events of this node as they happen.', load: () => import('./events.ts') },
  migrate: {
    summary: "Turn a KubeSkoop exporter's config into a pipeline.",
    load: () => import('./migrate.ts'),
  },
  version: { summary: 'Print the version.', load: () => import('./version.ts') },
};
