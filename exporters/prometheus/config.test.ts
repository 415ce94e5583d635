import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { check, config, parseEndpoint } from './config.ts';

describe('config', () => {
  it('of nothing is the defaults', () => {
    const c = config.parse({});
    assert.equal(c.endpoint, '0.0.0.0:9464');
    assert.equal(c.metric_expiration, 300_000);
    assert.equal(c.naming, 'otel');
    assert.deepEqual(check(c), []);
  });

  it('knows endpoints', () => {
    assert.deepEqual(parseEndpoint('0.0.0.0:9464'), { host: '0.0.0.0', port: 9464 });
    assert.deepEqual(parseEndpoint('[::1]:80'), { host: '::1', port: 80 });
    assert.deepEqual(parseEndpoint(':0'), { host: undefined, port: 0 });
    assert.deepEqual(parseEndpoint('unix:///run/x.sock'), { socket: '/run/x.sock' });
    for (const bad of ['', '9464', 'host', 'host:', 'host:65536', '::1:80', 'unix://x', 'http://x:1']) {
      assert.equal(parseEndpoint(bad), undefined, bad);
    }
  });

  const refused: [title: string, input: Record<string, unknown>, path: string][] = [
    ['a typo', { endpont: ':1' }, ''],
    ['a password that is no hash', { basic_auth_users: { a: 'secret' } }, 'basic_auth_users.a'],
    ['a label that is none', { const_labels: { 'a-b': 'x' } }, 'const_labels.a-b'],
    ['an additional label without =', { additional_labels: ['app'] }, 'additional_labels.0'],
    ['a relative path', { path: 'metrics' }, 'path'],
  ];
  for (const [title, input, path] of refused) {
    it(`refuses ${title}`, () => {
      const result = config.safeParse(input);
      assert.equal(result.success, false);
      assert.equal(result.error?.issues[0]?.path.join('.'), path);
    });
  }

  it('checks what fields alone cannot say', () => {
    const tls = { cert_file: 'a', key_file: 'b' };
    const of = (input: Record<string, unknown>) => check(config.parse(input)).map((p) => p.path.join('.'));
    assert.deepEqual(of({ endpoint: 'nowhere' }), ['endpoint']);
    assert.deepEqual(of({ kubeskoop_extras: true }), ['kubeskoop_extras']);
    assert.deepEqual(of({ tls_server_config: { ...tls, client_auth_type: 'RequireAndVerifyClientCert' } }), [
      'tls_server_config.client_ca_file',
    ]);
    assert.deepEqual(of({ tls_server_config: { ...tls, min_version: 'TLS13', max_version: 'TLS12' } }), [
      'tls_server_config.min_version',
    ]);
  });
});
