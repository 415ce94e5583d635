import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { chooseEncoding, chooseFormat, scrapeTimeoutMs } from './negotiate.ts';

const all = { openMetrics: true, protobuf: true };
const format = (accept: string | undefined, enabled = all) => chooseFormat(accept, enabled).format;

describe('Accept', () => {
  const prometheus =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const native = `application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,${prometheus.replace('1.0.0', '1.0.0;q=0.8')}`;
  const cases: [string | undefined, string][] = [
    [undefined, 'text'],
    ['', 'text'],
    ['*/*', 'text'],
    ['text/html', 'text'],
    [prometheus, 'openmetrics'],
    [native, 'protobuf'],
    ['text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5', 'text'],
    ['application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.1', 'text'],
    ['application/openmetrics-text; version=1.0.0; escaping=allow-utf-8;q=0.6, text/plain;q=0.3', 'openmetrics'],
    ['application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text', 'text'],
    ['application/vnd.google.protobuf;proto=other.Message;encoding=delimited,text/plain', 'text'],
    ['application/openmetrics-text;q=0,text/plain;q=0.1', 'text'],
    ['application/openmetrics-text;q=nonsense', 'text'],
  ];
  for (const [accept, expected] of cases)
    it(`${accept} gives ${expected}`, () => assert.equal(format(accept), expected));

  it('heeds what is switched off', () => {
    assert.equal(format(native, { openMetrics: true, protobuf: false }), 'openmetrics');
    assert.equal(format(native, { openMetrics: false, protobuf: false }), 'text');
  });

  it('answers with the version that was asked for', () => {
    assert.match(
      chooseFormat('application/openmetrics-text;version=0.0.1', all).contentType,
      /version=0\.0\.1; charset=utf-8$/,
    );
    assert.match(chooseFormat('application/openmetrics-text', all).contentType, /version=1\.0\.0; charset=utf-8$/);
  });

  it('takes any bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (header) => {
        assert.ok(['text', 'openmetrics', 'protobuf'].includes(format(header)));
        assert.ok(['identity', 'gzip', 'zstd'].includes(chooseEncoding(header, true)));
      }),
    );
  });
});

describe('Accept-Encoding', () => {
  const cases: [string | undefined, string][] = [
    [undefined, 'identity'],
    ['gzip', 'gzip'],
    ['deflate, br', 'identity'],
    ['gzip;q=0', 'identity'],
    ['*', 'gzip'],
    ['*;q=0', 'identity'],
    ['zstd', 'zstd'],
    ['gzip, zstd', 'gzip'],
    ['gzip;q=0.5, zstd', 'zstd'],
    ['identity, gzip;q=0.5', 'identity'],
  ];
  for (const [header, expected] of cases) {
    it(`${header} gives ${expected}`, () => assert.equal(chooseEncoding(header, true), expected));
  }

  it('is not heeded when compression is off', () => assert.equal(chooseEncoding('gzip', false), 'identity'));
});

describe('X-Prometheus-Scrape-Timeout-Seconds', () => {
  it('is read as seconds, and ignored when it is no number', () => {
    const of = (v: string) => scrapeTimeoutMs({ 'x-prometheus-scrape-timeout-seconds': v });
    assert.equal(of('10'), 10_000);
    assert.equal(of('0.5'), 500);
    for (const bad of ['', '0', '-1', 'ten', 'Infinity']) assert.equal(of(bad), undefined);
    assert.equal(scrapeTimeoutMs({}), undefined);
  });
});
