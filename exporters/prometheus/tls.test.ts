import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get as httpsGet } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { metricsBatch, startExporter } from './testing.ts';

let folder: string;
const file = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

/** A key and a certificate for `name`, signed by `ca` (or by itself). */
function certificate(name: string, ca?: string): void {
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
  const sign = ca ? ['-CA', `${ca}.crt`, '-CAkey', `${ca}.key`, '-CAcreateserial'] : ['-signkey', `${name}.key`];
  openssl('x509', '-req', '-in', `${name}.csr`, '-days', '2', ...sign, '-out', `${name}.crt`);
}

interface Reply {
  readonly status: number;
  readonly server: string | undefined;
  readonly protocol: string | null;
}

/** One request over TLS; `client` names the certificate to show. */
function get(port: number | undefined, client?: string, maxVersion?: 'TLSv1.2'): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const show =
      client === undefined
        ? {}
        : { cert: readFileSync(file(`${client}.crt`)), key: readFileSync(file(`${client}.key`)) };
    const limits = maxVersion === undefined ? {} : { maxVersion };
    const options = {
      host: '127.0.0.1',
      port,
      path: '/metrics',
      rejectUnauthorized: false,
      agent: false,
      ...show,
      ...limits,
    };
    const request = httpsGet(options, (response) => {
      const socket = response.socket as TLSSocket;
      const server = [socket.getPeerCertificate().subject?.CN].flat()[0];
      const protocol = socket.getProtocol();
      response.resume();
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, server, protocol }));
    });
    request.on('error', reject);
  });
}

describe('TLS', () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'skl-tls-'));
    for (const name of ['server', 'renewed', 'authority', 'stranger']) certificate(name);
    certificate('client', 'authority');
  });
  after(() => rmSync(folder, { recursive: true }));

  async function start(t: { after(f: () => Promise<void>): void }, input: Record<string, unknown> = {}) {
    copyFileSync(file('server.crt'), file('used.crt'));
    copyFileSync(file('server.key'), file('used.key'));
    const tls = { cert_file: file('used.crt'), key_file: file('used.key'), ...input };
    const started = await startExporter(t, { tls_server_config: tls });
    await started.exporter.push(metricsBatch('x', []));
    return started;
  }

  it('serves HTTPS, of the versions allowed', async (t) => {
    const { exporter } = await start(t, { min_version: 'TLS13' });
    assert.deepEqual(await get(exporter.port), { status: 200, server: 'server', protocol: 'TLSv1.3' });
    await assert.rejects(get(exporter.port, undefined, 'TLSv1.2'));
  });

  const types: [type: string, none: string, stranger: string, client: string][] = [
    ['NoClientCert', '200', '200', '200'],
    ['RequestClientCert', '200', '200', '200'],
    ['RequireAnyClientCert', '401', '200', '200'],
    ['VerifyClientCertIfGiven', '200', '401', '200'],
    ['RequireAndVerifyClientCert', 'refused', 'refused', '200'],
  ];
  for (const [type, ...expected] of types) {
    it(`${type}: no certificate ${expected[0]}, a stranger's ${expected[1]}, a good one ${expected[2]}`, async (t) => {
      const { exporter } = await start(t, { client_auth_type: type, client_ca_file: file('authority.crt') });
      const answers: string[] = [];
      for (const client of [undefined, 'stranger', 'client']) {
        answers.push(
          await get(exporter.port, client).then(
            (r) => String(r.status),
            () => 'refused',
          ),
        );
      }
      assert.deepEqual(answers, expected);
    });
  }

  it('takes over renewed certificates, and keeps the old ones when the new are no good', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const { exporter, context } = await start(t);
    const { telemetry } = context;
    writeFileSync(file('used.crt'), 'no certificate');
    t.mock.timers.tick(10_000);
    while (telemetry.failures.length === 0) await new Promise(setImmediate);
    assert.equal((await get(exporter.port)).server, 'server');
    copyFileSync(file('renewed.crt'), file('used.crt'));
    copyFileSync(file('renewed.key'), file('used.key'));
    t.mock.timers.tick(10_000);
    while (telemetry.recoveries.length === 0) await new Promise(setImmediate);
    assert.equal((await get(exporter.port)).server, 'renewed');
    assert.deepEqual(telemetry.recoveries, ['certificate reload']);
  });

  it('says in one sentence which file is no good', async (t) => {
    await assert.rejects(
      startExporter(t, { tls_server_config: { cert_file: file('absent'), key_file: file('server.key') } }),
      {
        code: 'E_TLS_FILE',
        message: /^Cannot read .*absent: ENOENT/,
      },
    );
    await assert.rejects(
      startExporter(t, { tls_server_config: { cert_file: file('server.crt'), key_file: file('stranger.key') } }),
      { code: 'E_TLS_FILE', message: /^The certificate or key cannot be used: / },
    );
  });
});
