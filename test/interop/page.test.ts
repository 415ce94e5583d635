/** The node's page in a real Chromium: the agent in a node with real pods and real faults, and as many pods as a node may have. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { config as pageConfig } from '../../exporters/page/config.ts';
import { PageExporter } from '../../exporters/page/exporter.ts';
import { systemClock } from '../../pipeline/clock.ts';
import { testContext } from '../../pipeline/testing.ts';
import type { Agent } from '../bed/agent.ts';
import { type Bed, type Pod, startBed } from '../bed/bed.ts';
import { type NodeBrowser, startBrowser, type WatchedPage } from '../bed/browser.ts';
import { output, waitFor } from '../bed/command.ts';
import { manyPods } from './many-pods.ts';

const skip =
  !existsSync('/usr/bin/chromium') && 'there is no Chromium here (Debian package chromium, installed by make test)';
const noBtf = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF (/sys/kernel/btf/vmlinux)';
const address = 'http://localhost:9466/';

const config = {
  receivers: {
    procfs: { collection_interval: '1s' },
    ebpf: { collection_interval: '1s', probes: { flow: { enabled: false } } },
    cri: { collection_interval: '1s' },
  },
  processors: { netns: {}, pod: {}, symbolize: {} },
  exporters: { prometheus: { endpoint: '127.0.0.1:9464' }, page: {}, debug: {} },
  service: {
    pipelines: {
      metrics: {
        receivers: ['procfs', 'ebpf', 'cri'],
        processors: ['netns', 'pod'],
        exporters: ['prometheus', 'page'],
      },
      logs: {
        receivers: ['ebpf', 'cri'],
        processors: ['netns', 'pod', 'symbolize'],
        exporters: ['debug', 'page'],
      },
    },
  },
};

/** Nothing of the page came from elsewhere, and nothing of it was wrong. */
function assertClean({ complaints, requests }: WatchedPage, origin = address): void {
  assert.deepEqual(complaints, []);
  assert.deepEqual(
    requests.filter((url) => !url.startsWith(origin)),
    [],
  );
}

/** Runs in the page: its text, since the tests' own program has no DOM to be typed by. */
const inPage = <T>({ page }: WatchedPage, expression: string) => page.evaluate(expression) as Promise<T>;

/** Text of each row of the first table, cells by `|`. */
const rows = (opened: WatchedPage) =>
  inPage<string[]>(
    opened,
    `[...document.querySelector('table').tBodies[0].rows].map((row) => [...row.cells].map((c) => c.textContent).join('|'))`,
  );

/** Components in the drawing, and the rate that each shows. */
const components = (opened: WatchedPage) =>
  inPage<[string, number][]>(
    opened,
    `[...document.querySelectorAll('.graph g.node')].map((n) => [n.dataset.key, Number(n.dataset.rate)])`,
  );

describe('the page of a node with real pods', { skip: skip || noBtf }, () => {
  let bed: Bed;
  let agent: Agent;
  let browser: NodeBrowser;
  let server: Pod;
  let client: Pod;
  let opened: WatchedPage;

  const inPod = (pod: Pod, script: string) =>
    output(bed.node.enter(['bash', '-euc', script], { netnsOfPid: pod.pid }), { timeoutMs: 30_000 });
  const goTo = (hash: string) => opened.page.goto(address + hash);

  before(async () => {
    bed = await startBed({ name: 'node-a' });
    server = await bed.runPod({ name: 'statsd-0', namespace: 'shop' });
    client = await bed.runPod({ name: 'cart-0', namespace: 'shop' });
    agent = await bed.startAgent(config);
    await waitFor('the last probe to be on', () => /Probe dns is o/.test(agent.log()), { timeoutMs: 60_000 });
    await agent.until('the names of the pods', (samples) =>
      [server, client].every(({ name }) =>
        samples.some((s) => s.name === 'target_info' && s.labels['k8s_pod_name'] === name),
      ),
    );
    browser = await startBrowser(bed.node);
    opened = await browser.open(address);
  });
  after(async () => {
    await browser?.stop();
    await bed?.stop();
  });

  test('puts the pod in trouble on top, without a reload', async () => {
    const { page } = opened;
    await page.getByRole('link', { name: 'statsd-0' }).waitFor();
    await inPage(opened, `document.body.dataset.before = 'the fault'`);
    await inPod(
      server,
      'nft add table inet t; nft add chain inet t in "{ type filter hook input priority 0; }"; nft add rule inet t in udp dport 8125 drop',
    );
    await inPod(client, `for i in $(seq 23); do echo -n x > /dev/udp/${server.ip}/8125; done`);
    await waitFor('statsd-0 to be on top with 23 drops', async () => {
      // Namespaces of others on this machine have trouble of their own.
      const [first = ''] = (await rows(opened)).filter((row) => row.includes('|shop|'));
      return first.startsWith('statsd-0|shop|') && first.includes('23 packets dropped');
    });
    assert.equal(await inPage(opened, 'document.body.dataset.before'), 'the fault');
    assertClean(opened);
  });

  test('opens the page of the pod at a click: 23 drops by their reason, and its events', async () => {
    const { page } = opened;
    await page.getByRole('link', { name: 'statsd-0' }).click();
    await page.getByRole('heading', { name: 'statsd-0' }).waitFor();
    await waitFor('23 drops by reason', async () => {
      const panel = page.locator('.panel', { hasText: 'Drops by reason' });
      const cells = await panel.locator('tbody tr >> nth=0 >> th,td').allTextContents();
      return cells[0] === 'NETFILTER_DROP' && cells[1] === '23' && cells[2] === '23';
    });
    const events = page.locator('table.events tbody tr', { hasText: 'PACKETLOSS' });
    await waitFor('its events', async () => (await events.count()) === 23);
    assert.ok((await page.locator('figure canvas').count()) >= 2);
    await page.goBack();
    await page.getByRole('link', { name: 'cart-0' }).waitFor();
    assertClean(opened);
  });

  test('shows events as they happen, those that pass the filter', async () => {
    const { page } = opened;
    await goTo('#/events?namespace=shop&pod=cart');
    await page.locator('#state[data-state=live]').waitFor();
    await inPod(client, `for i in 1 2 3 4 5 6 7; do (exec 3<> /dev/tcp/${server.ip}/81) 2> /dev/null || true; done`);
    const failed = page.locator('tbody tr', { hasText: 'connect_failed' });
    await waitFor('7 failed connects', async () => (await failed.count()) === 7);
    const pods = await page.locator('tbody td.name').allTextContents();
    assert.deepEqual([...new Set(pods)], ['cart-0']);
    await page.locator('input[name=type]').fill('connect_failed');
    await waitFor('the others to go', async () => {
      const all = await page.locator('tbody > tr').count();
      return all === 7 && (await failed.count()) === 7;
    });
    assert.match(page.url(), /type=connect_failed/);
    await failed.first().locator('summary').click();
    await page.locator('details[open] dd', { hasText: 'ECONNREFUSED' }).waitFor();
    assertClean(opened);
  });

  test('lets a pod go that is gone', async () => {
    const { page } = opened;
    const pod = await bed.runPod({ name: 'passing-0', namespace: 'shop' });
    await goTo('#/pods');
    const link = page.getByRole('link', { name: 'passing-0' });
    await link.waitFor();
    const other = await browser.open(`${address}#/pod/${encodeURIComponent(`pod/${pod.uid}`)}`);
    await other.page.getByRole('heading', { name: 'passing-0' }).waitFor();
    await bed.removePod(pod);
    await link.waitFor({ state: 'detached' });
    await other.page.getByText('This pod is not here (any more).').waitFor();
    assertClean(opened);
    assertClean(other);
  });

  test('draws each component of the config, each with its rate', async () => {
    const { page } = opened;
    await goTo('#/pipeline');
    const wanted = [
      ...config.service.pipelines.metrics.processors.map((id) => `processor ${id} in metrics`),
      ...config.service.pipelines.logs.processors.map((id) => `processor ${id} in logs`),
      ...Object.keys(config.receivers).map((id) => `receiver ${id}`),
      ...Object.keys(config.exporters).map((id) => `exporter ${id}`),
    ].sort();
    await page.locator('.graph g.node').first().waitFor();
    const keys = (await components(opened)).map(([key]) => key);
    assert.deepEqual(keys.sort(), wanted);
    const busy = new Set<string>();
    await waitFor(
      'each to have a rate',
      async () => {
        // Rates are means over 30 s: an event now and then keeps the pipeline of logs above zero.
        await inPod(client, `(exec 3<> /dev/tcp/${server.ip}/81) 2> /dev/null || true`);
        for (const [key, rate] of await components(opened)) if (rate > 0) busy.add(key);
        return busy.size === wanted.length;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );
    const arrows = await page.locator('.graph path.way').count();
    // procfs, ebpf, cri → netns → pod → two exporters; ebpf, cri → netns → pod → symbolize → two exporters.
    assert.equal(arrows, 3 + 1 + 2 + (2 + 1 + 1 + 2));
    await page.locator('[data-key="exporter page"]').focus();
    await page.keyboard.press('Enter');
    await page.locator('.details h2', { hasText: 'exporter page' }).waitFor();
    assertClean(opened);
  });

  test('says how to watch flows where they are not watched, and takes it when it is done', async () => {
    const { page } = opened;
    await goTo('#/flows');
    await page.getByText('Flows are not watched').waitFor();
    const next = structuredClone(config);
    next.receivers.ebpf.probes.flow.enabled = true;
    await output(bed.node.enter(['tee', agent.configPath]), { input: stringify(next) });
    agent.signal('SIGHUP');
    await waitFor('a band between the two', async () => {
      await inPod(client, `head -c 2000 /dev/zero > /dev/udp/${server.ip}/8126`);
      return (
        (await page.locator('.sankey path').count()) > 0 &&
        (await page.locator('.sankey').innerHTML()).includes('statsd-0')
      );
    });
    assertClean(opened);
  });

  test('comes back by itself when the agent does', async () => {
    const { page } = opened;
    await goTo('#/pods');
    await page.locator('#state[data-state=live]').waitFor();
    await agent.stop();
    await page.locator('#state[data-state=lost]').waitFor();
    agent = await bed.startAgent(config);
    await page.locator('#state[data-state=live]').waitFor();
    // What a browser says of a connection that was refused meanwhile is all there may be.
    assert.deepEqual(
      opened.complaints.filter(
        (text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET/.test(text),
      ),
      [],
    );
  });
});

describe('the page of 250 pods', { skip }, () => {
  let browser: NodeBrowser;
  let exporter: PageExporter;
  let opened: WatchedPage;
  let url: string;
  const pods = manyPods(250);
  let last = Date.now() - 300_000;
  const collect = (atMs: number) => {
    last = atMs;
    return pods.collect(exporter, atMs);
  };

  before(async () => {
    const context = { ...testContext({ id: 'page', node: 'node-a' }), clock: systemClock };
    exporter = new PageExporter(pageConfig.parse({ endpoint: '127.0.0.1:0' }), context);
    await exporter.start();
    while (last + 15_000 < Date.now()) await collect(last + 15_000);
    url = `${exporter.url}/`;
    browser = await startBrowser({ enter: (argv) => [...argv] });
    opened = await browser.open(url);
  });
  after(async () => {
    await browser?.stop();
    await exporter?.stop();
  });

  test('lists them all, filters and sorts them', async () => {
    const { page } = opened;
    await waitFor('250 rows', async () => (await rows(opened)).length === 250);
    const troubled = pods.names.filter((_, i) => i % 23 === 0);
    const top = (await rows(opened)).slice(0, troubled.length).map((row) => row.split('|')[0]);
    assert.deepEqual(top.toSorted(), troubled.toSorted());
    await page.keyboard.press('/');
    await page.keyboard.type('shop/cart');
    const carts = pods.names.filter((name, i) => name.startsWith('cart') && i % 3 === 0);
    await waitFor('the carts of the shop', async () => (await rows(opened)).length === carts.length);
    await page.keyboard.press('Escape');
    await page.getByRole('searchbox').fill('');
    await page.getByRole('button', { name: 'Out' }).click();
    assert.equal(await page.locator('th[aria-sort]').textContent(), 'Out');
    await page.getByLabel('in trouble only').check();
    await waitFor('those in trouble', async () => (await rows(opened)).length === troubled.length);
    await page.getByLabel('in trouble only').uncheck();
    assertClean(opened, url);
  });

  test('stays small: elements, heap of the page, a message', async () => {
    const { page } = opened;
    const count = () => inPage<number>(opened, `document.querySelectorAll('*').length`);
    const elements = await count();
    const strip = page.locator('dl.strip');
    const before = await strip.textContent();
    for (let i = 0; i < 7; i++) await collect(Date.now());
    await waitFor('an update', async () => (await strip.textContent()) !== before);
    assert.equal(await count(), elements, 'an update makes no elements');
    assert.ok(elements < 250 * 20 + 200, `${elements} elements`);
  });

  test('draws the largest flows and lists the rest', async () => {
    const { page } = opened;
    await page.goto(`${url}#/flows`);
    await page.locator('.sankey svg').waitFor();
    const bands = await page.locator('.sankey path').count();
    assert.ok(bands > 0 && bands <= 60, `${bands} bands`);
    assert.equal((await rows(opened)).length, 200);
    await page.getByText('50 smaller flows are not listed').waitFor();
    assertClean(opened, url);
  });

  test('is read with the keyboard, in the dark as in the light', async () => {
    const dark = await browser.open(`${url}#/pods`, { colorScheme: 'dark' });
    const { page } = dark;
    await page.locator('tbody tr').first().waitFor();
    const color = (what: string) => inPage<string>(dark, `getComputedStyle(document.documentElement).${what}`);
    const brightness = (rgb: string) =>
      (rgb.match(/\d+/g) ?? []).slice(0, 3).reduce((n, part) => n + Number(part), 0) / 3;
    assert.ok(brightness(await color('backgroundColor')) < 40);
    assert.ok(brightness(await color('color')) > 200);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    const focused = () => inPage(dark, 'document.activeElement.textContent');
    assert.equal(await focused(), (await rows(dark))[1]!.split('|')[0]);
    await page.keyboard.press('Enter');
    await page.locator('h1').waitFor();
    await page.locator('figure', { hasText: 'round trip' }).locator('canvas').waitFor();
    await page.keyboard.press('2');
    await page.locator('table.events tbody tr').first().waitFor();
    assertClean(dark, url);
  });
});
