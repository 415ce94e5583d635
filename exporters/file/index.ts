import { defineExporter } from '../../pipeline/component.ts';
import { type Config, config } from './config.ts';
import { FileExporter } from './exporter.ts';

export default defineExporter<Config>({
  type: 'file',
  summary: 'What happened on this node, kept in a file that rotates?',
  stability: 'beta',
  config,
  signals: ['logs'],
  queue: (c) => c,
  create: (c, context) => new FileExporter(c, context),
});
