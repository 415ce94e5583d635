import { z } from 'zod';
import { bytes, duration } from '../fields.ts';

/**
 * Config keys that every exporter pushing over HTTP has, named as in the OpenTelemetry Collector's confighttp and configtls. An
 * exporter spreads {@link httpPushFields} into its strictObject.
 */

export const tlsFields = z
  .strictObject({
    ca_file: z.string().optional().describe('PEM file of the authorities to trust instead of the system ones.'),
    cert_file: z.string().optional().describe('PEM file of the client certificate (mutual TLS).'),
    key_file: z.string().optional().describe('PEM file of the client key.'),
    server_name_override: z
      .string()
      .optional()
      .describe('Name the server certificate must carry, where not the host of the URL.'),
    insecure_skip_verify: z.boolean().default(false).describe('Take any server certificate. For tests.'),
    reload_interval: duration('30s').describe('How often the files are looked at for a change.'),
  })
  .prefault({});

export const authFields = z
  .strictObject({
    bearer: z
      .strictObject({
        token: z.string().optional().describe('Bearer token; better from the environment or a file.'),
        token_file: z.string().optional().describe('File of the token, read again when it changes.'),
      })
      .optional()
      .describe('Authorization: Bearer.'),
    basic: z
      .strictObject({
        username: z.string().describe('User name.'),
        password: z.string().optional().describe('Password; better from the environment or a file.'),
        password_file: z.string().optional().describe('File of the password, read again when it changes.'),
      })
      .optional()
      .describe('Authorization: Basic.'),
  })
  .prefault({});

export const httpPushFields = {
  timeout: duration('10s').describe('Longest time of one request, answer included.'),
  compression: z.enum(['gzip', 'zstd', 'none']).default('gzip').describe('Encoding of request bodies.'),
  headers: z.record(z.string(), z.string()).default({}).describe('Headers added to each request.'),
  header_files: z
    .record(z.string(), z.string())
    .default({})
    .describe('Headers whose value is read from a file, again when it changes.'),
  auth: authFields.describe('Credentials sent with each request.'),
  tls: tlsFields.describe('Certificates, for https endpoints.'),
  proxy_url: z
    .string()
    .optional()
    .describe('HTTP proxy. Default: HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment; empty = none.'),
  connection_max_age: duration('5m').describe('Connections are renewed, and names looked up again, after this time.'),
  max_response_bytes: bytes('64KiB').describe('What is read of an answer.'),
};

export type TlsConfig = z.output<typeof tlsFields>;
export type AuthConfig = z.output<typeof authFields>;
export type HttpPushConfig = z.output<z.ZodObject<typeof httpPushFields>>;

type Problem = { path: readonly (string | number)[]; message: string };

/** Rules across these keys, for an exporter's `check`. */
export function checkHttpPush(config: Pick<HttpPushConfig, 'auth' | 'tls'>): Problem[] {
  const problems: Problem[] = [];
  const { bearer, basic } = config.auth;
  if (bearer && basic) problems.push({ path: ['auth'], message: 'bearer and basic exclude each other' });
  if (bearer && (bearer.token === undefined) === (bearer.token_file === undefined)) {
    problems.push({ path: ['auth', 'bearer'], message: 'needs either token or token_file' });
  }
  if (basic && (basic.password === undefined) === (basic.password_file === undefined)) {
    problems.push({ path: ['auth', 'basic'], message: 'needs either password or password_file' });
  }
  if ((config.tls.cert_file === undefined) !== (config.tls.key_file === undefined)) {
    problems.push({ path: ['tls'], message: 'cert_file and key_file go together' });
  }
  return problems;
}

/** A problem when `text` is not an http or https URL. */
export function checkUrl(text: string, path: readonly string[]): Problem[] {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return [];
  return [{ path, message: `expected an http:// or https:// URL, got '${text}'` }];
}
