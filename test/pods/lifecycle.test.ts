/** Pods that come and go: nothing of the dead stays, and the living keep their name through everything. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { waitFor } from '../bed/command.ts';
import { type Sample, select, valueOfOne } from '../bed/exposition.ts';

const config = {
  receivers: {
    procfs: { collection_interval: '500ms', initial_delay: '100ms' },
    cri: { collection_interval: '1s' },
  },
  processors: { netns: {}, pod: {} },
  exporters: { prometheus: { endpoint: '127.0.0.1:9464' }, debug: {} },
  service: {
    pipelines: {
      metrics: { receivers: ['procfs', 'cri'], processors: ['netns', 'pod'], exporters: ['prometheus'] },
      logs: { receivers: ['cri'], processors: ['netns', 'pod'], exporters: ['debug'] },
    },
  },
};

const ofPod = (samples: readonly Sample[], name: RegExp) =>
  samples.filter((s) => name.test(s.labels['k8s_pod_name'] ?? ''));
const opens = 'skoop_tcp_active_opens_total';

describe('the life of pods', () => {
  let bed: Bed;
  let agent: Agent;
  let web: Pod;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    web = await bed.runPod({ name: 'web-0', command: ['httpd', '-f', '-p', '80', '-h', '/www'] });
    agent = await bed.startAgent(config);
    await agent.until('the first pod', (samples) => select(samples, opens, { k8s_pod_name: 'web-0' }).length === 1);
  });
  after(() => bed?.stop());

  const connect = (pod: Pod, n: number) =>
    pod.exec(['sh', '-c', `for i in $(seq ${n}); do timeout 5 wget -qO /dev/null http://${web.ip}/ || exit 1; done`]);

  test('a pod killed and made again 50 times leaves no series and no file descriptor behind', async () => {
    // What is opened once (a watch, a socket for the new family) is opened by the first pod.
    const settle = async () => {
      await agent.until('no series of a gone pod', (samples) => ofPod(samples, /^churn-/).length === 0);
      return agent.fds();
    };
    await bed.removePod(await bed.runPod({ name: 'churn-0' }));
    const fds = await settle();
    const seriesBefore = (await agent.samples()).length;
    let seen = 0;
    for (let i = 1; i <= 50; i++) {
      const pod = await bed.runPod({ name: 'churn-0' });
      if (i % 10 === 0) {
        await agent.until(
          `pod number ${i}`,
          (samples) => select(samples, opens, { k8s_pod_name: 'churn-0' }).length === 1,
        );
        seen++;
      }
      await bed.removePod(pod);
    }
    assert.equal(seen, 5);
    await settle();
    await waitFor('the file descriptors of before', () => agent.fds() <= fds);
    await waitFor('as many series as before', async () => (await agent.samples()).length === seriesBefore);
  });

  test('a pod whose sandbox process is killed keeps its name and goes on counting', async () => {
    const pod = await bed.runPod({ name: 'orphan-0', namespace: 'shop' });
    const labels = { k8s_pod_name: 'orphan-0', k8s_namespace_name: 'shop', k8s_node_name: 'node-a' };
    await agent.until('its series', (samples) => select(samples, opens, labels).length === 1);
    const before = valueOfOne(await agent.samples(), opens, labels);
    await bed.killPause(pod);
    assert.equal((await connect(pod, 13)).code, 0);
    await agent.until(
      '13 more connections under its name',
      (samples) => valueOfOne(samples, opens, labels) === before + 13,
    );
    await agent.until(
      'the runtime to call it NOTREADY',
      (samples) =>
        select(samples, 'skoop_pod_info', { k8s_pod_name: 'orphan-0', skoop_pod_state: 'notready' }).length === 1 ||
        select(samples, 'skoop_pod_info_ratio', { k8s_pod_name: 'orphan-0', skoop_pod_state: 'notready' }).length === 1,
    );
    // Long after the runtime told so, it still has its name.
    const timestamp = (samples: readonly Sample[]) =>
      valueOfOne(samples, 'skoop_source_collection_timestamp_seconds', { skoop_source: 'cri/pods' });
    const since = timestamp(await agent.samples());
    await agent.until('two more lists of the runtime', (samples) => timestamp(samples) > since + 2);
    assert.equal(valueOfOne(await agent.samples(), opens, labels), before + 13);
    await bed.removePod(pod);
    await agent.until('its series to end', (samples) => ofPod(samples, /^orphan-0$/).length === 0);
  });

  test('pods keep their names while containerd restarts, and new ones get theirs after it', async () => {
    await bed.containerd.restart(async () => {
      const timestamp = (samples: readonly Sample[]) =>
        valueOfOne(samples, 'skoop_source_collection_timestamp_seconds', { skoop_source: 'procfs/tcp' });
      const since = timestamp(await agent.samples());
      await agent.until('two collections without a runtime', (samples) => timestamp(samples) > since + 1);
      assert.equal(select(await agent.samples(), opens, { k8s_pod_name: 'web-0' }).length, 1);
    });
    const pod = await bed.runPod({ name: 'late-0' });
    await agent.until(
      'the name of a new pod',
      (samples) => select(samples, opens, { k8s_pod_name: 'late-0' }).length === 1,
    );
    await bed.removePod(pod);
  });

  test('the start and the end of a pod are events with its name', async () => {
    const pod = await bed.runPod({ name: 'event-0', namespace: 'shop' });
    const lines = () => agent.lines().filter((l) => l.includes('event-0'));
    await waitFor('the event of its start', () => lines().length > 0);
    const started = lines().length;
    await bed.removePod(pod);
    await waitFor('the event of its end', () => lines().length > started);
    for (const line of lines()) assert.match(line, /\bpod=event-0 namespace=shop\b/);
  });

  test('SIGTERM ends the agent with 0 and in time', async () => {
    assert.equal(await agent.stop(), 0);
  });
});
