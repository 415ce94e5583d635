import { defineExporter } from '../../pipeline/component.ts';
import { type Config, config } from './config.ts';
import { DebugExporter } from './exporter.ts';

export default defineExporter<Config>({
  type: 'debug',
  summary: 'What is flowing through this pipeline right now, one line an event?',
  stability: 'beta',
  config,
  signals: ['metrics', 'logs', 'entities'],
  create: (c, context) => new DebugExporter(c, context),
});
