import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { GiveUp, waitFor } from './command.ts';
import { type CriClient, criClient } from './cri.ts';
import { imageTar, pauseImage } from './image.ts';
import { childOf, type TestNode } from './node.ts';

/** How pods are plugged in. `bridge`: IPv4 behind one bridge. `ptp`: a veth and routes per pod, IPv4 and IPv6. */
export type Cni = 'bridge' | 'ptp';

/** A containerd of the test node's own, at the well-known socket inside the node. */
export interface Containerd {
  readonly cri: CriClient;
  /** Socket as the agent in the node sees it. */
  readonly socket: string;
  /** Stops it (pods go on), runs `between`, starts it again. */
  restart(between?: () => Promise<void>): Promise<void>;
  /** Its log so far. */
  log(): string;
  stop(): Promise<void>;
}

const socket = '/run/containerd/containerd.sock';
const home = '/run/skl';

/** containerd 1.6 and later. Pods' oom_score_adj is left alone, since lowering it needs CAP_SYS_RESOURCE. */
const config = `version = 2
root = "${home}/root"
state = "${home}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "${home}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${home}/cni/net.d"
    max_conf_num = 1
[plugins."io.containerd.internal.v1.opt"]
  path = "${home}/opt"
`;

function conflist(cni: Cni, subnet: string, subnet6: string): object {
  const ipam = { type: 'host-local', dataDir: `${home}/cni/data` };
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    isDefaultGateway: true,
    hairpinMode: true,
    ipMasq: false,
    ipam: { ...ipam, ranges: [[{ subnet }]] },
  };
  const routes = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }];
  const ptp = { type: 'ptp', ipMasq: false, ipam: { ...ipam, ranges: [[{ subnet }], [{ subnet: subnet6 }]], routes } };
  const bandwidth = { type: 'bandwidth', capabilities: { bandwidth: true } };
  return { cniVersion: '1.0.0', name: 'pods', plugins: cni === 'bridge' ? [bridge] : [ptp, bandwidth] };
}

function spawnContainerd(node: TestNode): ChildProcess {
  const argv = node.enter(['containerd', '-c', `${home}/config.toml`]);
  const log = openSync(node.path(`${home}/containerd.log`), 'a');
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', log, log] });
  closeSync(log);
  return child;
}

/** Writes the configuration into the node, starts containerd there and imports the images. */
export async function startContainerd(
  node: TestNode,
  options: { readonly cni: Cni; readonly subnet: string; readonly subnet6: string },
): Promise<Containerd> {
  mkdirSync(node.path(`${home}/cni/net.d`), { recursive: true });
  writeFileSync(node.path(`${home}/config.toml`), config);
  const net = conflist(options.cni, options.subnet, options.subnet6);
  writeFileSync(node.path(`${home}/cni/net.d/10-pods.conflist`), JSON.stringify(net));

  const log = () => readFileSync(node.path(`${home}/containerd.log`), 'utf8');
  const cri = criClient(node.path(socket));
  let child: ChildProcess;
  const start = async () => {
    child = spawnContainerd(node);
    await waitFor('containerd to answer', async () => {
      if (child.exitCode !== null) throw new GiveUp(`containerd ended: ${log().split('\n').slice(-5).join('\n')}`);
      const { status } = await cri.call<{ status: { conditions: { type: string; status: boolean }[] } }>(
        'Status',
        {},
        2000,
      );
      return status.conditions.every((c) => c.status);
    });
  };
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    process.kill(await childOf(child.pid!), 'SIGTERM');
    await ended;
  };

  await start();
  const { code, stdout, stderr } = await node.run([
    'ctr',
    '-a',
    socket,
    '-n',
    'k8s.io',
    'images',
    'import',
    imageTar(),
  ]);
  if (code !== 0) throw new Error(`ctr images import: exit code ${code}\n${stdout}${stderr}`);
  return {
    cri,
    socket,
    log,
    async restart(between = async () => {}) {
      await end();
      await between();
      await start();
    },
    async stop() {
      cri.close();
      await end();
    },
  };
}
