import { z } from 'zod';
import { duration } from '../../pipeline/fields.ts';
import { parseAdditionalLabel } from './additional-labels.ts';
import { isBcryptHash } from './bcrypt.ts';

const additionalLabel = z.string().superRefine((text, ctx) => {
  const parsed = parseAdditionalLabel(text);
  if (typeof parsed === 'string') ctx.addIssue({ code: 'custom', message: parsed });
});

const labelName = z.string().regex(/^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/, { error: 'not a label name' });

const tls = z.strictObject({
  cert_file: z.string().describe('Certificate chain, PEM. Read again when it changes.'),
  key_file: z.string().describe('Private key, PEM. Read again when it changes.'),
  client_auth_type: z
    .enum([
      'NoClientCert',
      'RequestClientCert',
      'RequireAnyClientCert',
      'VerifyClientCertIfGiven',
      'RequireAndVerifyClientCert',
    ])
    .default('NoClientCert')
    .describe('Whether scrapers must show a certificate, in the terms of exporter-toolkit.'),
  client_ca_file: z.string().optional().describe('Authorities whose client certificates are trusted, PEM.'),
  min_version: z.enum(['TLS12', 'TLS13']).default('TLS12').describe('Lowest TLS version that is spoken.'),
  max_version: z.enum(['TLS12', 'TLS13']).default('TLS13').describe('Highest TLS version that is spoken.'),
});

export const config = z.strictObject({
  endpoint: z
    .string()
    .default('0.0.0.0:9464')
    .describe('Where to listen: host:port, [ipv6]:port, :port for all addresses, or unix:///path.'),
  path: z
    .string()
    .startsWith('/', { error: 'must begin with /' })
    .default('/metrics')
    .describe('HTTP path of the scrape.'),
  naming: z
    .enum(['otel', 'kubeskoop'])
    .default('otel')
    .describe("Whose metric and label names: OpenTelemetry's, or KubeSkoop's for dashboards that are there already."),
  kubeskoop_extras: z
    .boolean()
    .default(false)
    .describe('With naming: kubeskoop, also show the metrics that KubeSkoop has no name for.'),
  metric_expiration: duration('5m').describe('A source that has sent nothing for so long is no longer shown.'),
  resource_labels: z
    .array(z.string())
    .default(['k8s.node.name', 'k8s.namespace.name', 'k8s.pod.name', 'k8s.container.name'])
    .describe('Resource attributes that become labels of every series; a trailing * stands for any rest.'),
  anonymous_resource_labels: z
    .array(z.string())
    .default(['container.name', 'container.id', 'k8s.pod.uid', 'skoop.netns.name', 'skoop.netns.inode'])
    .describe('The same, in addition, for what belongs to no pod, so that it can be told apart.'),
  additional_labels: z.array(additionalLabel).default([]).describe(
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how users write it.
    'More labels, as name=expression; ${labels:KEY} in it is the pod label KEY (one that the pod processor keeps).',
  ),
  const_labels: z.record(labelName, z.string()).default({}).describe('Labels with fixed values, on every series.'),
  target_info: z
    .boolean()
    .default(true)
    .describe('Show target_info: everything known of each pod and the node, for joins.'),
  scope_labels: z
    .boolean()
    .default(false)
    .describe('Add otel_scope_name and otel_scope_version: which component made the series.'),
  enable_open_metrics: z.boolean().default(true).describe('Speak OpenMetrics 1.0 with scrapers that ask for it.'),
  native_histograms: z
    .boolean()
    .default(true)
    .describe('Speak the protobuf format, with native histograms, with scrapers that ask for it.'),
  max_buckets: z
    .number()
    .int()
    .min(2)
    .max(200)
    .default(40)
    .describe('Most le buckets a histogram shows; of finer ones every nth bound is shown, counts stay exact.'),
  compression: z.boolean().default(true).describe('Compress (gzip, zstd) for scrapers that accept it.'),
  max_requests: z
    .number()
    .int()
    .positive()
    .default(16)
    .describe('Scrapes served at once; further ones get 503 with Retry-After.'),
  write_timeout: duration('30s').describe(
    'A scrape that takes longer is cut off; a shorter timeout of the scraper counts.',
  ),
  tls_server_config: tls.optional().describe('Serve HTTPS, in the terms of exporter-toolkit.'),
  basic_auth_users: z
    .record(
      z.string(),
      z.string().refine(isBcryptHash, { error: 'expected a bcrypt hash ($2y$…), as htpasswd -B makes it' }),
    )
    .default({})
    .describe('User name to bcrypt hash of the password; none = no authentication.'),
  http_server_config: z
    .strictObject({
      headers: z.record(z.string(), z.string()).default({}).describe('Headers added to every answer.'),
    })
    .prefault({})
    .describe('Further HTTP settings, in the terms of exporter-toolkit.'),
});

export type Config = z.output<typeof config>;

/** What the fields alone cannot say. */
export function check(c: Config): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  if (parseEndpoint(c.endpoint) === undefined) {
    problems.push({
      path: ['endpoint'],
      message: `expected host:port, [ipv6]:port or unix:///path, got '${c.endpoint}'`,
    });
  }
  if (c.kubeskoop_extras && c.naming !== 'kubeskoop') {
    problems.push({ path: ['kubeskoop_extras'], message: 'has a meaning only with naming: kubeskoop' });
  }
  const t = c.tls_server_config;
  if (t && t.client_ca_file === undefined && /Verify/.test(t.client_auth_type)) {
    problems.push({ path: ['tls_server_config', 'client_ca_file'], message: `is needed for ${t.client_auth_type}` });
  }
  if (t && t.min_version > t.max_version) {
    problems.push({ path: ['tls_server_config', 'min_version'], message: 'is above max_version' });
  }
  return problems;
}

export type Endpoint = { readonly host: string | undefined; readonly port: number } | { readonly socket: string };

/** Reads an endpoint; undefined when it is none. A missing host means all addresses of both IP versions. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const unix = /^unix:\/\/(\/.+)$/.exec(text);
  if (unix) return { socket: unix[1]! };
  const m = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]/]*)):(\d{1,5})$/.exec(text);
  if (!m || Number(m[3]) > 65_535) return undefined;
  const host = m[1] ?? m[2];
  return { host: host === '' ? undefined : host, port: Number(m[3]) };
}
