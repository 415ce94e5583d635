/**
 * Which pod and container a process belongs to, from its cgroup path alone: what the kubelet and the container runtimes put into
 * the names of cgroups. Pure functions; works for cgroup v1, v2 and hybrid hierarchies.
 */

export interface CgroupIdentity {
  /** Kubernetes pod UID (`metadata.uid`; for static pods the 32 digits of their config hash). */
  readonly podUid?: string;
  /** Container or sandbox id: 64 hex digits. */
  readonly containerId?: string;
}

const nothing: CgroupIdentity = Object.freeze({});

// Pod UIDs: a UUID with '-' (cgroupfs driver) or '_' (systemd driver, where '-' separates slices), or 32 hex digits (static pods).
const strictPod =
  /(?:^|[/:-])pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12}|[0-9a-f]{32})(?=$|[/.:])/g;
// Behind the kubelet's own root any name is a UID (tests and virtual kubelets use free ones).
const cgroupfsPod = /kubepods(?:\/(?:burstable|besteffort|guaranteed))?\/pod([^/:]+)(?=$|[/:])/g;
const systemdPod = /kubepods(?:-burstable|-besteffort|-guaranteed)?-pod([^/:]+?)\.slice/g;
// cri-containerd-ID.scope, crio-ID.scope, docker-ID.scope, libpod-ID.scope; SLICE:cri-containerd:ID; /docker/ID; bare ID.
const container = /(?:^|[/:-])([0-9a-f]{64})(?=\.scope|$|[/:])/g;

function last(pattern: RegExp, text: string): string | undefined {
  let found: string | undefined;
  for (const match of text.matchAll(pattern)) found = match[1];
  return found;
}

/**
 * Reads one cgroup path. The innermost pod and container win, since a node may itself be a container (kind, k3d).
 * A container outside of any pod (docker run) has only a container id; conmon, which watches a container from outside, has none.
 */
export function parseCgroupPath(path: string): CgroupIdentity {
  const uid = last(strictPod, path) ?? last(cgroupfsPod, path) ?? last(systemdPod, path);
  const podUid = uid?.replaceAll('_', '-');
  const containerId = path.includes('conmon-') ? undefined : innermostContainer(path, uid);
  if (podUid === undefined && containerId === undefined) return nothing;
  return { ...(podUid !== undefined && { podUid }), ...(containerId !== undefined && { containerId }) };
}

/** With a pod, only an id behind it counts: `/docker/NODE/kubepods/podUID` is the pod's own cgroup, not a container's. */
function innermostContainer(path: string, uid: string | undefined): string | undefined {
  return last(container, uid === undefined ? path : path.slice(path.lastIndexOf(uid) + uid.length));
}

/**
 * Reads `/proc/PID/cgroup` (`hierarchy:controllers:path` lines; see cgroups(7)). On v1 and hybrid hosts the line that tells most
 * wins: some controllers may be left in a parent cgroup.
 */
export function parseCgroupFile(text: string): CgroupIdentity {
  let best = nothing;
  let bestScore = 0;
  let previous = '';
  for (const line of text.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (path === previous || path.length < 32 + 1) {
      if (!path.includes('pod')) continue;
    }
    previous = path;
    const identity = parseCgroupPath(path);
    const score = (identity.podUid === undefined ? 0 : 2) + (identity.containerId === undefined ? 0 : 1);
    if (score > bestScore) {
      best = identity;
      bestScore = score;
    }
    if (score === 3) break;
  }
  return best;
}

/** The cgroup v2 path of `/proc/PID/cgroup` (the `0::` line), undefined where there is no v2 hierarchy. */
export function unifiedCgroupPath(text: string): string | undefined {
  return cgroupPathOf(text, '');
}

/**
 * The path of one v1 controller (`memory`, `cpu`, `name=systemd`), or of the v2 hierarchy for controller `''`.
 * Undefined when the file has no such line.
 */
export function cgroupPathOf(text: string, controller: string): string | undefined {
  for (const line of text.split('\n')) {
    const first = line.indexOf(':');
    const second = line.indexOf(':', first + 1);
    if (first < 0 || second < 0) continue;
    if (
      line
        .slice(first + 1, second)
        .split(',')
        .includes(controller)
    )
      return line.slice(second + 1);
  }
  return undefined;
}
