import { defineExporter } from '../../pipeline/component.ts';
import { type Config, config } from './config.ts';
import { TerminalExporter } from './exporter.ts';

export default defineExporter<Config>({
  type: 'terminal',
  summary: 'Which pods of this node are in trouble, and why, as seen in a terminal?',
  stability: 'beta',
  config,
  signals: ['metrics', 'logs', 'entities'],
  create: (c, context) => new TerminalExporter(c, context),
});
