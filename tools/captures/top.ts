/** `make docs-captures`: what `skoopline top` shows beside real pods with a real fault, for the docs. Writes docs/captures/. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { startBed } from '../../test/bed/bed.ts';
import { startTerminal } from '../../test/bed/tmux.ts';

const root = `${import.meta.dirname}/../..`;
const folder = `${root}/docs/captures`;
mkdirSync(folder, { recursive: true });

const bed = await startBed({ name: 'node-a' });
try {
  const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
  const web = await bed.runPod({ name: 'web-5775dfdc77-fj767', namespace: 'shop', command: serve });
  const cart = await bed.runPod({ name: 'cart-0', namespace: 'shop' });
  const search = await bed.runPod({ name: 'search-1', namespace: 'shop', command: serve });
  await bed.runPod({ name: 'coredns-6799fbcd5-p2x7k', namespace: 'kube-system' });

  const rules = [
    'add table ip skl',
    'add chain ip skl in { type filter hook input priority 0; }',
    'add rule ip skl in udp dport 5353 drop',
  ];
  await web.inNetns(['nft', rules.join('; ')]);

  const run = `${process.execPath} --disable-warning=ExperimentalWarning ${root}/cli/main.ts top`;
  const terminal = await startTerminal(bed.node, run, { columns: 132, rows: 34 });
  await terminal.until('the pods', (t) => /shop\/cart-0 +0 +0 /.test(t), 120_000);
  const calls = `for i in $(seq 40); do wget -qO /dev/null http://${search.ip}/; done; for i in $(seq 7); do wget -qO /dev/null http://${web.ip}:81/; done; exit 0`;
  await cart.exec(['sh', '-c', calls]);
  await cart.inNetns(['bash', '-c', `for i in $(seq 23); do echo hi > /dev/udp/${web.ip}/5353; done`]);
  const isThere = (t: string) =>
    /shop\/web-\S+ +30 +7 .* NETFILTER_DROP 23/.test(t) && /shop\/cart-0 .* ECONNREFUSED 7/.test(t);
  writeFileSync(`${folder}/top.txt`, await terminal.until('the fault', isThere));
  await terminal.press('Enter');
  writeFileSync(
    `${folder}/top-pod.txt`,
    await terminal.until("the pod's page", (t) => /NETFILTER_DROP +23 +23/.test(t)),
  );
  await terminal.press('q');
  await terminal.close();
  console.log('docs/captures: top.txt, top-pod.txt');
} finally {
  await bed.stop();
}
