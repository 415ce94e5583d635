import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeProc } from '../../host/netns/fake-proc.ts';
import { Cgroups, type ProcessGroup } from './pods.ts';
import { SchedScraper } from './sched.ts';
import { Slices } from './slices.ts';

const uid = '11111111-2222-4333-8444-555555555555';
const [app, sidecar, again] = ['a', 'b', 'c'].map((c) => c.repeat(64)) as [string, string, string];

describe('throttling of a pod', () => {
  let machine: FakeProc;
  let scraper: SchedScraper;
  beforeEach(() => {
    machine = new FakeProc();
  });
  afterEach(() => machine.remove());

  const start = (...containers: readonly string[]): ProcessGroup => ({
    key: uid,
    owner: { podUid: uid },
    processes: containers.map((containerId, i) => {
      machine.start(50 + i, { netns: 300, cgroup: `/kubepods/pod${uid}/${containerId}` });
      return { pid: 50 + i, starttime: 7, containerId };
    }),
  });
  const make = () => {
    const { root } = machine;
    const enabled = () => true;
    scraper = new SchedScraper(
      { root, enabled, reject: assert.fail, permitted: (_what, read) => read(), bootTimeMs: 0 },
      new Cgroups(root),
    );
  };
  const look = async (group: ProcessGroup) => {
    const values = await scraper.collect(group, new Slices());
    assert.ok(values);
    const of = (name: string) => values[scraper.series.schema.series.find((s) => s.metric.name === name)!.offset];
    return [of('skoop.sched.periods'), of('skoop.sched.throttled_periods'), of('skoop.sched.throttled')];
  };
  /** Writes a cpu.stat of cgroup v2. */
  const v2 = (path: string, periods: number, stopped: number, us: number) => {
    const directory = machine.root.sys('fs/cgroup', path);
    mkdirSync(directory, { recursive: true });
    writeFileSync(machine.root.sys('fs/cgroup/cgroup.controllers'), 'cpu\n');
    const text = `usage_usec 5\nnr_periods ${periods}\nnr_throttled ${stopped}\nthrottled_usec ${us}\n`;
    writeFileSync(join(directory, 'cpu.stat'), text);
  };
  const pod = `kubepods/pod${uid}`;

  it('is that of its containers, whose limits the pod’s own cgroup knows nothing of', async () => {
    v2(pod, 101, 0, 0);
    v2(`${pod}/${app}`, 101, 23, 2_300_000);
    v2(`${pod}/${sidecar}`, 53, 7, 700_000);
    make();
    assert.deepEqual(await look(start(app, sidecar)), [154, 30, 3]);
  });

  it('does not fall when a container ends and another begins, nor takes the pod’s own instead', async () => {
    v2(pod, 101, 11, 1_100_000);
    v2(`${pod}/${app}`, 101, 23, 2_300_000);
    make();
    assert.deepEqual(await look(start(app)), [101, 23, 2.3]);
    rmSync(machine.root.sys('fs/cgroup', pod, app), { recursive: true });
    assert.deepEqual(await look(start(sidecar)), [101, 23, 2.3]);
    v2(`${pod}/${again}`, 13, 5, 500_000);
    assert.deepEqual(await look(start(sidecar, again)), [114, 28, 2.8]);
  });

  it('is that of the pod’s own limit where no container has one', async () => {
    v2(pod, 101, 23, 2_300_000);
    v2(`${pod}/${app}`, 0, 0, 0);
    make();
    assert.deepEqual(await look(start(app)), [101, 23, 2.3]);
  });

  it('is in nanoseconds on cgroup v1', async () => {
    machine.start(50, { netns: 300, cgroup: '/' });
    writeFileSync(join(machine.root.proc(50), 'cgroup'), `4:cpu,cpuacct:/${pod}/${app}\n`);
    for (const [path, stopped, ns] of [
      [pod, 0, 0],
      [`${pod}/${app}`, 7, 700_000_000],
    ] as const) {
      const directory = machine.root.sys('fs/cgroup/cpu', path);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, 'cpu.stat'), `nr_periods 31\nnr_throttled ${stopped}\nthrottled_time ${ns}\n`);
    }
    make();
    const processes = [{ pid: 50, starttime: 7, containerId: app }];
    assert.deepEqual(await look({ key: uid, owner: { podUid: uid }, processes }), [31, 7, 0.7]);
  });
});
