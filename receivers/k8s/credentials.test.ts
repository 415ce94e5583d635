import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../pipeline/clock.ts';
import { AbsentError } from '../../pipeline/errors.ts';
import { record, testContext } from '../../pipeline/testing.ts';
import { waitFor } from '../../test/bed/command.ts';
import { ApiClient } from './api-client.ts';
import { config } from './config.ts';
import { credentialsOf } from './credentials.ts';
import { createReceiver } from './receiver.ts';
import { FakeApi, nodeObject } from './testing.ts';
import { folderOf, kubeconfigOf } from './testing-files.ts';

function certificate(folder: string, name: string): { cert: Buffer; key: Buffer } {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const who = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
  execFileSync('openssl', [...made, ...who], { stdio: 'ignore' });
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

const inCluster = (port: number) => ({ KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) });
const parsed = (settings: object) => config.parse(settings);

test('a service account over TLS with its own authority; a rotated token is used by the next request', async (t) => {
  const folder = folderOf(t);
  const tls = certificate(folder, 'api');
  const tokens = new Set(['first']);
  const api = new FakeApi({ tls, tokens });
  api.put('nodes', nodeObject('node-a', '192.0.2.10'));
  await api.start();
  t.after(() => api.stop());
  writeFileSync(join(folder, 'ca.crt'), tls.cert);
  // As the kubelet does: the files are symlinks that are swapped.
  writeFileSync(join(folder, 'token-1'), 'first\n');
  writeFileSync(join(folder, 'token-2'), 'second\n');
  symlinkSync('token-1', join(folder, 'token'));
  const context = testContext({ id: 'k8s' });
  const settings = parsed({ service_account: folder, pods: false, services: false, timeout: '10m' });
  const recording = record(createReceiver(settings, context, inCluster(api.port)).run());
  t.after(() => recording.subscription.unsubscribe());
  const until = (what: string, met: () => unknown) =>
    waitFor(what, async () => {
      await context.clock.run(250);
      return met();
    });
  await until('the node', () => recording.values.length === 1);
  assert.equal(api.requests[0]?.authorization, 'Bearer first');
  tokens.clear();
  tokens.add('second');
  unlinkSync(join(folder, 'token'));
  symlinkSync('token-2', join(folder, 'token'));
  await until('the watch', () => api.watches.length === 1);
  api.endWatches('nodes');
  await until(
    'the watch with the new token',
    () => api.requests.at(-1)?.authorization === 'Bearer second' && api.watches.length === 1,
  );
  assert.deepEqual(context.telemetry.failures, []);
});

test('a server with another authority is refused', async (t) => {
  const folder = folderOf(t);
  const api = new FakeApi({ tls: certificate(folder, 'api') });
  await api.start();
  t.after(() => api.stop());
  writeFileSync(join(folder, 'ca.crt'), certificate(folder, 'other').cert);
  writeFileSync(join(folder, 'token'), 'x');
  const credentials = credentialsOf(parsed({ service_account: folder }), inCluster(api.port));
  const client = new ApiClient(credentials, { clock: systemClock, timeoutMs: 5000, userAgent: 'test' });
  const options = { signal: new AbortController().signal, maxBytes: 1000 };
  await assert.rejects(client.get('/api/v1/nodes', {}, options), /self-signed certificate/);
  assert.equal(api.requests.length, 0, 'the token was not shown to it');
});

test('a kubeconfig: data inside, files beside it, a token, a client certificate', async (t) => {
  const folder = folderOf(t);
  const tls = certificate(folder, 'api');
  const api = new FakeApi({ tls, tokens: new Set(['inside', 'from a file']) });
  const server = await api.start();
  t.after(() => api.stop());
  const get = (kubeconfig: string) =>
    new ApiClient(credentialsOf(parsed({ kubeconfig }), {}), {
      clock: systemClock,
      timeoutMs: 5000,
      userAgent: 'test',
    }).get('/api/v1/pods', {}, { signal: new AbortController().signal, maxBytes: 10_000 });
  const data = tls.cert.toString('base64');
  const list = { kind: 'PodList', apiVersion: 'v1', metadata: { resourceVersion: '1000' }, items: [] };
  assert.deepEqual(
    await get(kubeconfigOf(t, { server, 'certificate-authority-data': data }, { token: 'inside' })),
    list,
  );
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'from a file\n');
  const authority = { server, 'certificate-authority': join(folder, 'api.crt') };
  assert.deepEqual(await get(kubeconfigOf(t, authority, { tokenFile })), list);
  const insecure = { server, 'insecure-skip-tls-verify': true };
  assert.deepEqual(await get(kubeconfigOf(t, insecure, { token: 'inside' })), list);
  await assert.rejects(get(kubeconfigOf(t, insecure, { token: 'wrong' })), /401: Unauthorized/);
  const client = { 'client-certificate': join(folder, 'api.crt'), 'client-key': join(folder, 'api.key') };
  const { cert, key } = credentialsOf(parsed({ kubeconfig: kubeconfigOf(t, authority, client) }), {}).read();
  assert.deepEqual([cert, key], [tls.cert, tls.key]);
  rmSync(tokenFile);
  await assert.rejects(get(kubeconfigOf(t, authority, { tokenFile })), /Cannot read .*token/);
});

test('no cluster and no kubeconfig is absent; what a kubeconfig cannot do here is said', (t) => {
  assert.throws(() => credentialsOf(parsed({}), {}), AbsentError);
  const nowhere = parsed({ service_account: '/nonexistent' });
  assert.throws(
    () => credentialsOf(nowhere, inCluster(1)),
    (e: AbsentError) => e instanceof AbsentError && /k8s.enabled/.test(e.hint!),
  );
  const server = 'https://127.0.0.1:1';
  const said = (cluster: object, user: object, more: object = {}) => {
    try {
      credentialsOf(parsed({ kubeconfig: kubeconfigOf(t, cluster, user), ...more }), {});
      return 'nothing';
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.match(said({ server }, { exec: { command: 'aws' } }), /logs in by exec, which is not supported/);
  assert.match(said({ server, 'proxy-url': 'http://p' }, {}), /proxy-url is not supported/);
  assert.match(said({ server: 'ftp://x' }, {}), /no URL: 'ftp:\/\/x'/);
  assert.match(said({ server }, {}, { context: 'other' }), /no context named 'other'/);
  assert.equal(said({ server }, {}), 'nothing');
  const ipv6 = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  const folder = folderOf(t);
  writeFileSync(join(folder, 'token'), 'x');
  assert.equal(credentialsOf(parsed({ service_account: folder }), ipv6).server.href, 'https://[fd00::1]/');
});
