import type { ComponentContext } from '../../pipeline/component.ts';
import { createHttpPush, errorOf } from '../../pipeline/http-push/index.ts';
import type { OtlpClient } from './client.ts';
import { type OtlpConfig, urlOf } from './config.ts';
import { isRetryableStatus, partialSuccess } from './response.ts';

/** OTLP/HTTP: a POST for each request (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP"). */
export function httpClient(config: OtlpConfig, context: ComponentContext): OtlpClient {
  const http = createHttpPush(config, context);
  const urls = { metrics: urlOf(config, 'metrics'), logs: urlOf(config, 'logs') };
  const contentType = config.protocol === 'http/json' ? 'application/json' : 'application/x-protobuf';
  return {
    start: async () => http.start(),
    async send(signal, request, abort) {
      const answer = await http.post({ url: urls[signal], body: request, contentType }, abort);
      if (answer.status >= 200 && answer.status < 300) return partialSuccess(answer);
      throw errorOf(answer, isRetryableStatus, context.clock.nowMs());
    },
    close: () => http.close(),
  };
}
