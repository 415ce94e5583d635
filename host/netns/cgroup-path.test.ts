import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cgroupPathOf, parseCgroupFile, parseCgroupPath, unifiedCgroupPath } from './cgroup-path.ts';

const id = '0123456789abcdef'.repeat(4);
const outerId = 'fedcba9876543210'.repeat(4);
const uid = '7f0f9c2e-59a0-4f05-a0a9-0e0f7c1b2d3e';
const underscored = uid.replaceAll('-', '_');
const staticUid = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';

const table: readonly (readonly [name: string, path: string, podUid?: string | undefined, containerId?: string])[] = [
  ['cgroupfs burstable', `/kubepods/burstable/pod${uid}/${id}`, uid, id],
  ['cgroupfs besteffort', `/kubepods/besteffort/pod${uid}/${id}`, uid, id],
  ['cgroupfs guaranteed', `/kubepods/pod${uid}/${id}`, uid, id],
  ['cgroupfs pod itself', `/kubepods/burstable/pod${uid}`, uid],
  [
    'systemd containerd',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${underscored}.slice/cri-containerd-${id}.scope`,
    uid,
    id,
  ],
  ['systemd guaranteed', `/kubepods.slice/kubepods-pod${underscored}.slice/cri-containerd-${id}.scope`, uid, id],
  [
    'systemd crio',
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${underscored}.slice/crio-${id}.scope`,
    uid,
    id,
  ],
  [
    'crio with a child',
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${underscored}.slice/crio-${id}.scope/container`,
    uid,
    id,
  ],
  [
    'conmon watches from outside',
    `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${underscored}.slice/crio-conmon-${id}.scope`,
    uid,
  ],
  [
    'docker shim',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${underscored}.slice/docker-${id}.scope`,
    uid,
    id,
  ],
  [
    'containerd v1 behind a systemd slice',
    `/system.slice/containerd.service/kubepods-burstable-pod${underscored}.slice:cri-containerd:${id}`,
    uid,
    id,
  ],
  [
    'static pod, systemd',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${staticUid}.slice/cri-containerd-${id}.scope`,
    staticUid,
    id,
  ],
  ['static pod, cgroupfs', `/kubepods/burstable/pod${staticUid}/${id}`, staticUid, id],
  ['a free uid under kubepods', `/kubepods/burstable/poduid-web-1/${id}`, 'uid-web-1', id],
  [
    'kind: a node in a container',
    `/docker/${outerId}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${underscored}.slice/cri-containerd-${id}.scope`,
    uid,
    id,
  ],
  ['kind: the pod itself has no container', `/docker/${outerId}/kubelet/kubepods/burstable/pod${uid}`, uid],
  ['kind: the node', `/docker/${outerId}/init.scope`, undefined, outerId],
  ['systemd inside the container', `/kubepods/pod${uid}/${id}/init.scope`, uid, id],
  ['docker run', `/docker/${id}`, undefined, id],
  ['docker run, systemd', `/system.slice/docker-${id}.scope`, undefined, id],
  ['podman', `/machine.slice/libpod-${id}.scope/container`, undefined, id],
  ['podman conmon', `/machine.slice/libpod-conmon-${id}.scope`],
  ['containerd namespace', `/k8s.io/${id}`, undefined, id],
  ['a service', '/system.slice/kubelet.service'],
  ['a user', '/user.slice/user-1000.slice/session-3.scope'],
  ['the root', '/'],
  ['no pod: a name that begins like one', '/podman.slice/app.scope'],
  ['no pod: half a uid', `/kube/pod${uid.slice(0, 20)}`],
  ['short hex is no container', '/docker/0123456789ab'],
];

for (const [name, path, podUid, containerId] of table) {
  test(`cgroup path: ${name}`, () => {
    assert.deepEqual(parseCgroupPath(path), {
      ...(podUid !== undefined && { podUid }),
      ...(containerId !== undefined && { containerId }),
    });
  });
}

test('v1: the line that tells most wins', () => {
  const text = `12:pids:/kubepods/pod${uid}\n11:memory:/kubepods/pod${uid}/${id}\n1:name=systemd:/system.slice/containerd.service\n`;
  assert.deepEqual(parseCgroupFile(text), { podUid: uid, containerId: id });
});

test('hybrid: v2 at the root, identity in v1', () => {
  const text = `2:cpu,cpuacct:/kubepods/burstable/pod${uid}/${id}\n0::/\n`;
  assert.deepEqual(parseCgroupFile(text), { podUid: uid, containerId: id });
  assert.equal(unifiedCgroupPath(text), '/');
  assert.equal(cgroupPathOf(text, 'cpuacct'), `/kubepods/burstable/pod${uid}/${id}`);
  assert.equal(cgroupPathOf(text, 'memory'), undefined);
});

test('v2: one line', () => {
  const text = `0::/kubepods.slice/kubepods-pod${underscored}.slice/cri-containerd-${id}.scope\n`;
  assert.deepEqual(parseCgroupFile(text), { podUid: uid, containerId: id });
});

test('own cgroup namespace: nothing is known', () => {
  assert.deepEqual(parseCgroupFile('0::/\n'), {});
  assert.deepEqual(parseCgroupFile('0::/../../other\n'), {});
  assert.deepEqual(parseCgroupFile(''), {});
});

test('whatever the text, no throw, and ids have their form', () => {
  const piece = fc.constantFrom(
    '/',
    ':',
    '-',
    '.slice',
    '.scope',
    'pod',
    'kubepods',
    uid,
    underscored,
    id,
    'conmon-',
    '\n',
    '0::',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 5 })), { maxLength: 20 }), (parts) => {
      const identity = parseCgroupFile(parts.join(''));
      if (identity.containerId !== undefined) assert.match(identity.containerId, /^[0-9a-f]{64}$/);
      if (identity.podUid !== undefined) assert.ok(identity.podUid.length > 0 && !identity.podUid.includes('/'));
    }),
  );
});
