import { readFile } from 'node:fs/promises';
import type { TlsOptions } from 'node:tls';
import { AgentError, messageOf } from '../../pipeline/errors.ts';
import type { Config } from './config.ts';

export type TlsConfig = NonNullable<Config['tls_server_config']>;

const versions = { TLS12: 'TLSv1.2', TLS13: 'TLSv1.3' } as const;

/** Contents of the files, and a key that changes when one of them does. */
export interface TlsFiles {
  readonly options: Pick<TlsOptions, 'cert' | 'key' | 'ca'>;
  readonly key: string;
}

/** @throws AgentError when a file cannot be read. */
export async function readTlsFiles(config: TlsConfig): Promise<TlsFiles> {
  const cert = await read(config.cert_file);
  const key = await read(config.key_file);
  const ca = config.client_ca_file === undefined ? undefined : await read(config.client_ca_file);
  return { options: { cert, key, ...(ca !== undefined && { ca }) }, key: [cert, key, ca].join('\0') };
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new AgentError('E_TLS_FILE', `Cannot read ${file}: ${messageOf(error)}.`, { cause: error });
  }
}

/** What does not change with the files. */
export function tlsOptions(config: TlsConfig): TlsOptions {
  const type = config.client_auth_type;
  return {
    minVersion: versions[config.min_version],
    maxVersion: versions[config.max_version],
    requestCert: type !== 'NoClientCert',
    // `RequireAnyClientCert` and `VerifyClientCertIfGiven` are told apart after the handshake: see `clientCertificateOk`.
    rejectUnauthorized: type === 'RequireAndVerifyClientCert',
  };
}

/** What a connection says of its peer's certificate. */
export interface PeerCertificate {
  readonly authorized: boolean;
  getPeerCertificate(): object;
}

/** Go's `ClientAuthType` rules for the types that Node has no switch for. */
export function clientCertificateOk(config: TlsConfig, socket: PeerCertificate): boolean {
  const given = Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
  switch (config.client_auth_type) {
    case 'RequireAnyClientCert':
      return given;
    case 'VerifyClientCertIfGiven':
      return !given || socket.authorized;
    case 'RequireAndVerifyClientCert':
      return given && socket.authorized;
    default:
      return true;
  }
}
