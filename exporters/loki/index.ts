import { defineExporter } from '../../pipeline/component.ts';
import { check, config, type LokiConfig } from './config.ts';
import { LokiExporter } from './exporter.ts';

export default defineExporter<LokiConfig>({
  type: 'loki',
  summary: 'Pushes events to Loki, with few stream labels and everything else as structured metadata.',
  stability: 'beta',
  signals: ['logs'],
  config,
  check,
  queue: (c) => c,
  create: (c, context) => new LokiExporter(c, context),
});
