import { defineExporter } from '../../pipeline/component.ts';
import { type Config, config } from './config.ts';
import { PageExporter } from './exporter.ts';

export default defineExporter<Config>({
  type: 'page',
  summary: 'What does this node look like right now, to somebody with a browser?',
  stability: 'beta',
  config,
  signals: ['metrics', 'logs', 'entities'],
  create: (c, context) => new PageExporter(c, context),
});
