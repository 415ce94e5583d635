/** The test bed itself: what the other tests of this lane stand on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { type Bed, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';

describe('the bed', () => {
  let bed: Bed;
  before(async () => {
    bed = await startBed({ name: 'node-a' });
  });
  after(() => bed?.stop());

  test('pods have addresses, reach one another and live in namespaces of their own', async () => {
    const web = await bed.runPod({ name: 'web-0', command: ['httpd', '-f', '-p', '80', '-h', '/www'] });
    const client = await bed.runPod({ name: 'cli-0', namespace: 'team-a' });
    const got = await client.exec(['timeout', '5', 'wget', '-qO-', `http://${web.ip}/`]);
    assert.deepEqual({ code: got.code, stdout: got.stdout }, { code: 0, stdout: 'hello\n' });
    assert.notEqual(web.netnsInode, client.netnsInode);
    assert.notEqual(web.netnsInode, bed.node.netnsInode);
    assert.match(readFileSync(web.proc('cgroup'), 'utf8'), new RegExp(`/kubepods/besteffort/pod${web.uid}/`));
  });

  test('a hostNetwork pod lives in the namespace of the node and of its pid 1', async () => {
    const host = await bed.runPod({ name: 'host-0', hostNetwork: true });
    assert.equal(host.netnsInode, bed.node.netnsInode);
    assert.deepEqual(host.ips, []);
    const { stdout } = await bed.node.run(['readlink', '/proc/1/ns/net']);
    assert.equal(stdout.trim(), `net:[${bed.node.netnsInode}]`);
  });

  test('the node sees its own processes and interfaces only', async () => {
    const { stdout } = await bed.node.run(['sh', '-c', 'hostname; ls /sys/class/net; cat /proc/1/comm']);
    assert.match(stdout, /^node-a\ncni0\nlo\n(veth\w+\n)+sh\n$/);
  });

  test('a killed sandbox is NOTREADY while its container lives on', async () => {
    const pod = await bed.runPod({ name: 'orphan-0' });
    await bed.killPause(pod);
    assert.equal((await pod.exec(['echo', 'alive'])).stdout, 'alive\n');
  });

  test('pods survive a restart of containerd', async () => {
    const pod = await bed.runPod({ name: 'kept-0' });
    await bed.containerd.restart();
    assert.equal((await pod.exec(['echo', 'alive'])).stdout, 'alive\n');
    await bed.removePod(pod);
    assert.equal(existsSync(pod.proc('ns/net')), false);
  });
});

test('ptp pods have both IP versions', async (t) => {
  const bed = await startBed({ cni: 'ptp' });
  t.after(() => bed.stop());
  const web = await bed.runPod({ name: 'web-0', command: ['httpd', '-f', '-p', '[::]:80', '-h', '/www'] });
  const client = await bed.runPod({ name: 'cli-0' });
  assert.match(web.ips.join(), /^198\.18\.\d+\.\d+,fd00:18::[0-9a-f]+$/);
  for (const host of [web.ips[0]!, `[${web.ips[1]!}]`]) {
    const got = await client.exec(['timeout', '5', 'wget', '-qO-', `http://${host}/`]);
    assert.equal(got.stdout, 'hello\n', host);
  }
});

test('a test process that is killed leaves no process and no mount behind', async () => {
  const script = `
    import { startBed } from ${JSON.stringify(`${import.meta.dirname}/../bed/bed.ts`)};
    const bed = await startBed();
    const pod = await bed.runPod({ name: 'left-0' });
    console.log(JSON.stringify([bed.node.initPid, pod.netnsInode, bed.node.cgroup]));
    setInterval(() => {}, 1000);`;
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'], env });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const line = await new Promise<string>((resolve) => child.stdout.once('data', (b: Buffer) => resolve(b.toString())));
  const [initPid, , cgroup] = JSON.parse(line) as [number, number, string];
  child.kill('SIGKILL');
  await ended;
  await waitFor('the node to end', () => !existsSync(`/proc/${initPid}`));
  // The next start sweeps the empty cgroups.
  const next = await startBed();
  await next.stop();
  assert.deepEqual(globSync(`/sys/fs/cgroup/*${cgroup}`), []);
});
