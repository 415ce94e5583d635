/**
 * `make screenshots`: docs/images/*.png, of the page as it shows a real run. A node in namespaces of its own with a small shop in it, in which a firewall
 * drops datagrams, a client asks at a port where nobody listens, and a backend is down.
 */
import { mkdirSync, statSync } from 'node:fs';
import { type Bed, type Pod, startBed } from '../test/bed/bed.ts';
import { startBrowser, type WatchedPage } from '../test/bed/browser.ts';
import { output, waitFor } from '../test/bed/command.ts';

const root = `${import.meta.dirname}/..`;
const images = `${root}/docs/images`;
/** Time for charts to have something in them. */
const runMs = Number(process.env['RUN_SECONDS'] ?? 150) * 1000;
const maxBytes = 200_000;

const config = {
  receivers: {
    procfs: { collection_interval: '5s' },
    netlink: { collection_interval: '5s' },
    ebpf: {
      collection_interval: '5s',
      probes: {
        flow: { enabled: true },
        socketlatency: { enabled: true },
        kernellatency: { enabled: true },
        packetloss: { enable_stack: true },
      },
    },
    cri: {},
  },
  processors: {
    memory_limiter: {},
    netns: {},
    pod: { labels: ['app'] },
    // BPF sees the whole kernel: what else runs on this machine is no part of the shop.
    filter: { namespaces: { include: ['shop', 'monitoring', 'data', 'kube-system', 'hostNetwork'] } },
    symbolize: {},
    limit_series: {},
  },
  exporters: {
    prometheus: { endpoint: '127.0.0.1:9464' },
    debug: {},
    page: {},
    // Nobody is there: what an outage looks like.
    otlp: { endpoint: 'http://127.0.0.1:4318', sending_queue: { queue_size: 400_000 } },
  },
  service: {
    pipelines: {
      metrics: {
        receivers: ['procfs', 'netlink', 'ebpf', 'cri'],
        processors: ['memory_limiter', 'netns', 'pod', 'filter', 'limit_series'],
        exporters: ['prometheus', 'page', 'otlp'],
      },
      logs: {
        receivers: ['netlink', 'ebpf', 'cri'],
        processors: ['memory_limiter', 'netns', 'pod', 'filter', 'symbolize'],
        exporters: ['debug', 'page'],
      },
    },
  },
};

const sh = (script: string) => ['sh', '-c', script];
const serve = (kib: number) =>
  sh(`mkdir -p /tmp/www && dd if=/dev/zero of=/tmp/www/x bs=1k count=${kib} && httpd -f -p 80 -h /tmp/www`);
const ask = (ip: string, pause: string) => sh(`while :; do wget -qO /dev/null http://${ip}/x; sleep ${pause}; done`);

async function shop(bed: Bed): Promise<{ payments: Pod; statsd: Pod; cart: Pod }> {
  const run = (name: string, command: string[], namespace = 'shop') =>
    bed.runPod({ name, namespace, labels: { app: name.replace(/-\w+-\w+$|-\d+$/, '') }, command });
  const catalog = await run('catalog-7c9d64b5fb-2xkqp', serve(64));
  const payments = await run('payments-0', serve(8));
  const images = await run('images-6d5f9c7d4d-w8hzn', serve(900));
  const statsd = await run('statsd-0', sh('nc -lu -p 8125 > /dev/null'), 'monitoring');
  const cart = await run('cart-5b9f7d8c6-n4ltm', ask(catalog.ip, '0.3'));
  await run('frontend-84f6bb9c9-qk5vd', ask(images.ip, '1'));
  await run('frontend-84f6bb9c9-zz7rt', ask(catalog.ip, '0.5'));
  await run('checkout-6bd8dbb6f-hj2mp', ask(payments.ip, '0.7'));
  await run('search-0', ask(catalog.ip, '0.9'));
  await run('redis-0', sh('sleep 2147483647'), 'data');
  await run('ledger-0', sh('sleep 2147483647'), 'data');
  await run('coredns-6f6b679f8f-5kd8x', sh('sleep 2147483647'), 'kube-system');
  return { payments, statsd, cart };
}

/** What goes wrong, again and again. */
async function trouble(bed: Bed, { payments, statsd, cart }: Awaited<ReturnType<typeof shop>>): Promise<void> {
  const inPod = (pod: Pod, script: string) =>
    output(bed.node.enter(['bash', '-euc', script], { netnsOfPid: pod.pid }), { timeoutMs: 30_000 });
  await inPod(
    statsd,
    'nft add table inet shop; nft add chain inet shop in "{ type filter hook input priority 0; }"; nft add rule inet shop in udp dport 8125 drop',
  );
  const until = performance.now() + runMs;
  for (let round = 0; performance.now() < until; round++) {
    await inPod(cart, `for i in $(seq 23); do echo -n x > /dev/udp/${statsd.ip}/8125; done`);
    if (round % 2 === 0) await inPod(cart, `(exec 3<> /dev/tcp/${payments.ip}/8443) 2> /dev/null || true`);
    await inPod(cart, 'sleep 5');
  }
}

async function shot(watched: WatchedPage, name: string, ready: string, full = false): Promise<void> {
  const { page } = watched;
  await page.locator(ready).first().waitFor();
  // Charts and lists of the next message or two.
  await page.waitForTimeout(2500);
  const path = `${images}/${name}.png`;
  await page.screenshot({ path, fullPage: full, animations: 'disabled' });
  const { size } = statSync(path);
  console.log(`docs/images/${name}.png ${(size / 1000).toFixed(0)} kB`);
  if (size > maxBytes) process.exitCode = 1;
  if (watched.complaints.length > 0) throw new Error(watched.complaints.join('\n'));
}

mkdirSync(images, { recursive: true });
const bed = await startBed({ name: 'node-a' });
try {
  const pods = await shop(bed);
  const agent = await bed.startAgent(config);
  await waitFor('the page to be served', () => /The page is served/.test(agent.log()));
  const browser = await startBrowser(bed.node);
  // Looked at from the start, so that rates are means over a while.
  const graph = await browser.open('http://localhost:9466/#/pipeline', { height: 560 });
  console.log(`The shop runs for ${runMs / 1000} s.`);
  await trouble(bed, pods);
  await graph.page.locator('[data-key="exporter otlp"]').click();
  await shot(graph, 'pipeline', '.details table', true);
  const list = await browser.open('http://localhost:9466/', { height: 560 });
  await shot(list, 'pods', 'tbody tr');
  const dark = await browser.open('http://localhost:9466/', { height: 560, colorScheme: 'dark' });
  await shot(dark, 'pods-dark', 'tbody tr');
  await list.page.getByRole('link', { name: pods.statsd.name }).click();
  await list.page.setViewportSize({ width: 1280, height: 700 });
  await shot(list, 'pod', '.panel');
  await list.page.goto(`http://localhost:9466/#/pod/${encodeURIComponent(`pod/${pods.cart.uid}`)}`);
  await list.page.setViewportSize({ width: 1280, height: 1030 });
  await shot(list, 'pod-client', '.panel');
  const events = await browser.open('http://localhost:9466/#/events', { height: 620 });
  await events.page.locator('tbody tr', { hasText: 'TCPRESET' }).first().locator('summary').click();
  await shot(events, 'events', 'tbody tr');
  const flows = await browser.open('http://localhost:9466/#/flows', { height: 760 });
  await shot(flows, 'flows', '.sankey svg');
  await browser.stop();
} finally {
  await bed.stop();
}
