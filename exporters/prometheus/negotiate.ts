import type { IncomingHttpHeaders } from 'node:http';

/**
 * Which of our formats a scraper wants: RFC 9110 §12.5.1 (Accept with quality values) over the media types of Prometheus'
 * "Scrape protocol content negotiation". A scraper that asks for nothing we have gets the text format, as from every exporter.
 */
export type Format = 'text' | 'openmetrics' | 'protobuf';
export type Encoding = 'identity' | 'gzip' | 'zstd';

export interface Offer {
  readonly format: Format;
  readonly contentType: string;
}

const textOffer: Offer = { format: 'text', contentType: 'text/plain; version=0.0.4; charset=utf-8' };
const protobufOffer: Offer = {
  format: 'protobuf',
  contentType: 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited',
};

export interface Enabled {
  readonly openMetrics: boolean;
  readonly protobuf: boolean;
}

interface Range {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly q: number;
}

/** The format for an Accept header. Of equal quality, the one that was named first. */
export function chooseFormat(accept: string | undefined, enabled: Enabled): Offer {
  let best: { offer: Offer; q: number } | undefined;
  for (const range of ranges(accept ?? '')) {
    const offer = offerFor(range, enabled);
    if (offer !== undefined && range.q > 0 && (best === undefined || range.q > best.q)) best = { offer, q: range.q };
  }
  return best?.offer ?? textOffer;
}

function offerFor({ type, parameters }: Range, enabled: Enabled): Offer | undefined {
  const version = parameters.get('version');
  switch (type) {
    case 'application/vnd.google.protobuf':
      return enabled.protobuf &&
        (parameters.get('proto') ?? 'io.prometheus.client.MetricFamily') === 'io.prometheus.client.MetricFamily' &&
        parameters.get('encoding') === 'delimited'
        ? protobufOffer
        : undefined;
    case 'application/openmetrics-text':
      if (!enabled.openMetrics || (version !== undefined && version !== '1.0.0' && version !== '0.0.1'))
        return undefined;
      return {
        format: 'openmetrics',
        contentType: `application/openmetrics-text; version=${version ?? '1.0.0'}; charset=utf-8`,
      };
    case 'text/plain':
      return version === undefined || version === '0.0.4' ? textOffer : undefined;
    case 'text/*':
    case '*/*':
      return textOffer;
    default:
      return undefined;
  }
}

/** The content coding for an Accept-Encoding header: what the scraper prefers, else gzip before zstd before none. */
export function chooseEncoding(header: string | undefined, compression: boolean): Encoding {
  if (!compression || header === undefined) return 'identity';
  const q = new Map(Array.from(ranges(header), (r) => [r.type, r.q]));
  const wildcard = q.get('*') ?? 0;
  let best: { encoding: Encoding; q: number } = { encoding: 'identity', q: q.get('identity') ?? 0 };
  for (const encoding of ['gzip', 'zstd'] as const) {
    // A `*` alone is not taken for zstd: few who write it have a decoder.
    const quality = q.get(encoding) ?? (encoding === 'gzip' ? wildcard : 0);
    if (quality > 0 && (quality > best.q || (best.encoding === 'identity' && quality >= best.q))) {
      best = { encoding, q: quality };
    }
  }
  return best.encoding;
}

/** How long the scraper will wait, milliseconds: Prometheus' own header. Undefined when absent or no number. */
export function scrapeTimeoutMs(headers: IncomingHttpHeaders): number | undefined {
  const value = Number(headers['x-prometheus-scrape-timeout-seconds'] ?? Number.NaN);
  return Number.isFinite(value) && value > 0 ? value * 1000 : undefined;
}

function* ranges(header: string): Generator<Range> {
  for (const item of header.split(',')) {
    const [type = '', ...rest] = item.split(';').map((p) => p.trim());
    if (type === '') continue;
    const parameters = new Map<string, string>();
    for (const p of rest) {
      const at = p.indexOf('=');
      if (at > 0)
        parameters.set(
          p.slice(0, at).trim().toLowerCase(),
          p
            .slice(at + 1)
            .trim()
            .replace(/^"|"$/g, ''),
        );
    }
    const q = Number(parameters.get('q') ?? '1');
    yield { type: type.toLowerCase(), parameters, q: Number.isFinite(q) ? q : 0 };
  }
}
