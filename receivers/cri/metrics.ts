import { defineEvents, defineMetrics } from '../../pipeline/catalogue.ts';

const containerStates = ['created', 'running', 'exited', 'unknown'] as const;

export const metrics = defineMetrics({
  'skoop.pod.info': {
    instrument: 'gauge',
    unit: '{pod}',
    description: 'Always 1, one for each pod of this node that lives, with what is known of it as attributes.',
    attributes: {
      'skoop.pod.ip': { description: "The pod's first address; empty while it has none." },
      'skoop.pod.state': { description: "The sandbox's state.", values: ['ready', 'notready'] },
      'skoop.pod.host_network': { description: "True when the pod shares the node's network namespace." },
      'container.runtime.name': { description: 'Which runtime keeps it: containerd, cri-o, docker.' },
    },
    source: 'CRI ListPodSandbox, PodSandboxStatus',
    scope: 'pod',
    kubeskoop: [{ name: 'kubeskoop_info_pod', labels: { 'skoop.pod.ip': 'ip' } }],
  },
  'k8s.container.restart.count': {
    instrument: 'gauge',
    unit: '{restart}',
    description: "How often the container was restarted, as counted by the kubelet in the container's attempt number.",
    source: 'CRI ListContainers metadata.attempt',
    scope: 'pod',
    maxSeries: 1,
  },
  'skoop.container.state': {
    instrument: 'gauge',
    unit: '{container}',
    description: 'Always 1, with the state of the container as the runtime sees it.',
    attributes: {
      'skoop.container.state': { description: 'State of the container.', values: [...containerStates] },
    },
    source: 'CRI ListContainers state',
    scope: 'pod',
    maxSeries: 1,
  },
});

const sandboxAttributes = {
  'skoop.sandbox.id': { description: 'Id of the sandbox in the runtime.' },
  'skoop.pod.host_network': { description: "True when the pod shares the node's network namespace." },
  'skoop.netns.inode': { description: 'Inode of the network namespace, where it is known.' },
} as const;

const containerAttributes = {
  'container.id': { description: 'Id of the container in the runtime.' },
  'k8s.container.name': { description: 'Name of the container in the pod.' },
  'container.image.name': { description: 'Image as the pod names it.' },
  'k8s.container.restart_count': { description: 'How often it was restarted.' },
} as const;

export const events = defineEvents({
  'skoop.pod.started': {
    description: 'A pod has a sandbox: its network is set up.',
    source: 'CRI ListPodSandbox, two lists compared',
    attributes: { ...sandboxAttributes, 'skoop.pod.ips': { description: 'All addresses of the pod.' } },
  },
  'skoop.pod.stopped': {
    description: 'A sandbox is gone, or its network is.',
    source: 'CRI ListPodSandbox, two lists compared',
    attributes: sandboxAttributes,
  },
  'skoop.container.started': {
    description: 'A container runs.',
    source: 'CRI ListContainers, two lists compared',
    attributes: containerAttributes,
  },
  'skoop.container.exited': {
    description: 'A container has ended.',
    source: 'CRI ListContainers, two lists compared; ContainerStatus',
    attributes: {
      ...containerAttributes,
      'process.exit.code': { description: 'Exit code, where the runtime tells it.' },
      'skoop.container.exit_reason': { description: 'Completed, Error, OOMKilled, ..., where the runtime tells it.' },
    },
  },
});
