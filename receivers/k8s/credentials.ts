import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { AbsentError, AgentError, messageOf } from '../../pipeline/errors.ts';
import type { K8sConfig } from './config.ts';
import { asObject, type JsonObject, listAt, objectAt, textAt } from './json.ts';

/** What one connection and one request to the API server need. Files behind it are read anew each time, since tokens and authorities rotate. */
export interface Credentials {
  readonly server: URL;
  /** @throws AgentError when a file cannot be read. */
  read(): {
    readonly ca: Buffer | undefined;
    readonly cert: Buffer | undefined;
    readonly key: Buffer | undefined;
    readonly token: string | undefined;
  };
  readonly serverName: string | undefined;
  readonly insecure: boolean;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The credentials a config names.
 *
 * @throws AbsentError where there is neither a kubeconfig nor a service account.
 * @throws AgentError when the kubeconfig makes no sense or asks for a login that only a program can do.
 */
export function credentialsOf(config: K8sConfig, env: Environment): Credentials {
  return config.kubeconfig === undefined
    ? inCluster(config.service_account, env)
    : fromFile(config.kubeconfig, config.context);
}

/** By what the kubelet gives to each pod: two environment variables and a projected volume. */
function inCluster(folder: string, env: Environment): Credentials {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (!host || !port) {
    throw new AbsentError('Not in a cluster: KUBERNETES_SERVICE_HOST is not set.', {
      hint: 'Outside of a pod name a kubeconfig.',
    });
  }
  const tokenFile = `${folder}/token`;
  if (!existsSync(tokenFile)) {
    throw new AbsentError(`The pod has no service-account token: ${tokenFile} is not there.`, {
      hint: 'Set k8s.enabled in the Helm chart.',
    });
  }
  const server = url(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`);
  const read = () => ({ ca: file(`${folder}/ca.crt`), cert: undefined, key: undefined, token: secret(tokenFile) });
  return { server, read, serverName: undefined, insecure: false };
}

function fromFile(path: string, contextName: string | undefined): Credentials {
  const { cluster, user } = chosen(path, contextName);
  for (const key of ['exec', 'auth-provider', 'username']) {
    if (user[key] !== undefined) {
      throw new AgentError('E_KUBECONFIG', `${path}: the user logs in by ${key}, which is not supported.`, {
        hint: 'Give it a token, tokenFile or client certificate: those of a service account, for example.',
      });
    }
  }
  if (cluster['proxy-url'] !== undefined) throw new AgentError('E_KUBECONFIG', `${path}: proxy-url is not supported.`);
  const folder = dirname(path);
  const data = (from: JsonObject, key: string): (() => Buffer | undefined) => {
    const inline = textAt(from, `${key}-data`);
    const name = textAt(from, key);
    if (inline !== undefined) return () => Buffer.from(inline, 'base64');
    return () => (name === undefined ? undefined : file(resolve(folder, name)));
  };
  const ca = data(cluster, 'certificate-authority');
  const cert = data(user, 'client-certificate');
  const key = data(user, 'client-key');
  const token = textAt(user, 'token');
  const tokenFile = textAt(user, 'tokenFile');
  return {
    server: url(textAt(cluster, 'server') ?? ''),
    read: () => ({
      ca: ca(),
      cert: cert(),
      key: key(),
      token: tokenFile === undefined ? token : secret(resolve(folder, tokenFile)),
    }),
    serverName: textAt(cluster, 'tls-server-name'),
    insecure: cluster['insecure-skip-tls-verify'] === true,
  };
}

/** The cluster and the user of the context. */
function chosen(path: string, contextName: string | undefined): { cluster: JsonObject; user: JsonObject } {
  const text = file(path).toString('utf8');
  let whole: JsonObject | undefined;
  try {
    whole = asObject(parse(text));
  } catch (cause) {
    throw new AgentError('E_KUBECONFIG', `${path} is no YAML.`, { cause });
  }
  const name = contextName ?? textAt(whole, 'current-context');
  const find = (list: string, key: string, wanted: string | undefined) => {
    const found = listAt(whole, list)
      .map(asObject)
      .find((e) => e?.['name'] === wanted && wanted !== undefined);
    const value = objectAt(found, key);
    if (value === undefined) throw new AgentError('E_KUBECONFIG', `${path} has no ${key} named '${wanted ?? ''}'.`);
    return value;
  };
  const context = find('contexts', 'context', name);
  return {
    cluster: find('clusters', 'cluster', textAt(context, 'cluster')),
    user: find('users', 'user', textAt(context, 'user')),
  };
}

function url(text: string): URL {
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed?.protocol === 'https:' || parsed?.protocol === 'http:') return parsed;
  throw new AgentError('E_KUBECONFIG', `The API server's address is no URL: '${text}'.`);
}

function file(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new AgentError('E_FILE', `Cannot read ${path}: ${messageOf(cause)}.`);
  }
}

function secret(path: string): string {
  return file(path).toString('utf8').trim();
}
