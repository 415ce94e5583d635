/**
 * The quick start and the pages of docs/how-to-find: their commands are run on a real node with two pods, and what they show of it must be what the agent says, numbers
 * included. `make docs-captures` writes what they show anew.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { python, waitFor } from '../bed/command.ts';
import { select } from '../bed/exposition.ts';
import { startShell, stepsOf, withOutputs } from './documented.ts';

const root = `${import.meta.dirname}/../..`;
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';
const troubles = globSync(`${root}/docs/how-to-find/*.md`)
  .filter((p) => !p.endsWith('README.md'))
  .sort();
const pages = [`${root}/docs/quick-start.md`, ...troubles];
const isUpdate = process.env['UPDATE_CAPTURES'] === '1';

/** The default pipeline, read every 2 s, its events in a file besides. */
function pipeline(): string {
  const config = parse(readFileSync(`${root}/pipeline.yaml`, 'utf8')) as {
    receivers: Record<string, object>;
    exporters: Record<string, object>;
    service: { pipelines: { logs: { exporters: string[] } } };
  };
  for (const name of ['procfs', 'netlink', 'ebpf']) {
    config.receivers[name] = { ...config.receivers[name], collection_interval: '2s' };
  }
  config.exporters['file'] = { path: '/run/skl/events', timestamp: false };
  config.service.pipelines.logs.exporters.push('file');
  return stringify(config);
}

/** What docs/how-to-find/README.md says of `inside`, `listening`, `events`, `told` and `series`, for a bed. */
const prelude = (web: Pod, cart: Pod, linesBefore: number) => `
export PATH=${dirname(python)}:$PATH
web=${web.ip} cart=${cart.ip}
inside() {
  case $1 in web) set -- ${web.pid} "\${@:2}";; cart) set -- ${cart.pid} "\${@:2}";; esac
  # What runs in the background is the command itself, so that it can be ended.
  [ $BASH_SUBSHELL = 0 ] || exec nsenter -t $1 -n -- "\${@:2}"
  nsenter -t $1 -n -- "\${@:2}"
}
listening() { until [ "$(inside $1 ss -Hlntu "sport = :$2")" ]; do sleep 0.05; done; }
events() { tail -n +${linesBefore + 1} /run/skl/events | grep -E ' pod=(web|cart|hostNetwork) '; }
told() { events | grep -E "$1" | sed -E 's/ ([sd]port)=[3-6][0-9]{4} / \\1=… /g; s/ (pid|latency)=[^ ]*/ \\1=…/g; s/ skoop.netfilter.(table|chain)=[^ ]*//g' | sort | uniq -c; }
series() { curl -s localhost:9464/metrics | grep -E "^$1\\{" | grep -E "k8s_pod_name=\\"$2\\"" | sort; }
`;

describe('how to find ten troubles', { skip: noBtf }, () => {
  let bed: Bed;
  let agent: Agent;

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    agent = await bed.startAgent(pipeline(), { ready: false });
    await waitFor('the last probe to be on', () => /Probe dns is o/.test(agent.log()), { timeoutMs: 60_000 });
  });
  after(() => bed?.stop());

  test('there are ten, and the index names each', () => {
    assert.ok(troubles.length >= 10, `${troubles.length} pages`);
    const index = readFileSync(`${root}/docs/how-to-find/README.md`, 'utf8');
    for (const page of troubles) assert.ok(index.includes(`](${basename(page)})`), basename(page));
  });

  for (const path of pages) {
    test(basename(path), async () => {
      const page = readFileSync(path, 'utf8');
      const steps = stepsOf(page);
      assert.ok(
        steps.some((s) => s.shown !== undefined),
        'a page shows what is seen',
      );
      // The same addresses for each page, in whatever order they are run.
      await bed.node.run(['sh', '-c', 'rm -f /run/skl/cni/data/*/last_reserved_ip*']);
      const [web, cart] = [
        await bed.runPod({ name: 'web', namespace: 'shop' }),
        await bed.runPod({ name: 'cart', namespace: 'shop' }),
      ];
      await agent.until('the names of the pods', (samples) =>
        [web, cart].every((p) => select(samples, 'target_info', { k8s_pod_uid: p.uid }).length > 0),
      );
      const file = bed.node.path('/run/skl/events');
      const linesBefore = existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
      const shell = await startShell(bed.node, prelude(web, cart, linesBefore));
      const outputs: string[] = [];
      try {
        for (const { commands, shown } of steps) {
          let seen = await shell.run(commands);
          if (shown !== undefined && /^(told|series) /.test(commands)) {
            // What is told comes at once and what is counted with the next collection.
            let since = performance.now();
            await waitFor(
              commands,
              async () => {
                const now = await shell.run(commands);
                if (now !== seen) since = performance.now();
                seen = now;
                return isUpdate ? performance.now() - since > 5000 : seen === shown;
              },
              { timeoutMs: 20_000, everyMs: 200 },
            ).catch(() => {});
          }
          outputs.push(seen);
        }
      } finally {
        await shell.stop();
        await Promise.all([bed.removePod(web), bed.removePod(cart)]);
      }
      if (isUpdate) writeFileSync(path, withOutputs(page, steps, outputs));
      else assert.equal(withOutputs(page, steps, outputs), page);
    });
  }
});
