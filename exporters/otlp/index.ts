import { defineExporter } from '../../pipeline/component.ts';
import { check, config, type OtlpConfig } from './config.ts';
import { OtlpExporter } from './exporter.ts';

export default defineExporter<OtlpConfig>({
  type: 'otlp',
  summary: 'Sends metrics and events to any OpenTelemetry backend over OTLP: HTTP with protobuf or JSON, or gRPC.',
  stability: 'beta',
  signals: ['metrics', 'logs'],
  config,
  check,
  queue: (c) => c,
  create: (c, context) => new OtlpExporter(c, context),
});
