import { defineExporter } from '../../pipeline/component.ts';
import { type Config, check, config } from './config.ts';
import { PrometheusExporter } from './exporter.ts';
import { metrics } from './metrics.ts';

export default defineExporter<Config>({
  type: 'prometheus',
  summary: 'What does Prometheus see when it scrapes this node?',
  stability: 'beta',
  config,
  check,
  metrics: Object.values(metrics),
  signals: ['metrics'],
  create: (c, context) => new PrometheusExporter(c, context),
});
