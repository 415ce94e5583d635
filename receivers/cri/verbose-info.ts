/**
 * The verbose `info` of PodSandboxStatus and ContainerStatus: a map of strings, one of them JSON, in a shape that belongs to the
 * runtime and is promised by nobody. Everything is checked; what is not as expected is absent.
 */
export interface VerboseInfo {
  /** Process id of the sandbox (or container) in the host's pid namespace. Absent when it has ended (containerd says 0). */
  readonly pid?: number;
  /** Path of the network namespace's bind mount on the host: `/var/run/netns/cni-…`. */
  readonly netnsPath?: string;
  /** True when the runtime says that the pod has no network namespace of its own. */
  readonly hostNetwork: boolean;
}

const nothing: VerboseInfo = Object.freeze({ hostNetwork: false });

/**
 * Reads the verbose info of containerd (`pid`, `runtimeSpec`) and CRI-O (`pid`, `runtimeSpec`), both under the
 * key `info`; cri-dockerd has none.
 *
 * @returns undefined when there is no info or it is not JSON.
 */
export function parseVerboseInfo(info: Readonly<Record<string, string>>): VerboseInfo | undefined {
  const text = info['info'];
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(json)) return nothing;
  const pid = json['pid'];
  const namespaces = namespacesOf(json['runtimeSpec']);
  const network = namespaces?.find((n) => isObject(n) && n['type'] === 'network');
  const path = isObject(network) ? network['path'] : undefined;
  return {
    ...(typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 && { pid }),
    ...(typeof path === 'string' && path.startsWith('/') && { netnsPath: path }),
    hostNetwork: namespaces !== undefined && network === undefined,
  };
}

/** `linux.namespaces` of an OCI runtime spec; undefined when it is not there or empty. */
function namespacesOf(spec: unknown): readonly unknown[] | undefined {
  if (!isObject(spec) || !isObject(spec['linux'])) return undefined;
  const list = spec['linux']['namespaces'];
  return Array.isArray(list) && list.length > 0 ? list : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
