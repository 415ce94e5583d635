/**
 * Writes deploy/manifests/skoopline.yaml, the chart with its default values as `helm template` renders it, for those who have no Helm. With
 * `--check` it writes nothing and exits 1 when the file differs. Without Helm (tools/setup/helm.sh builds it) it says so and does nothing.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

process.chdir(`${import.meta.dirname}/..`);
const check = process.argv.includes('--check');
const helm = '.cache/bin/helm';
const path = 'deploy/manifests/skoopline.yaml';
const head = `# Written by \`make generate\` from deploy/helm/skoopline with its default values; a change made here is lost.
#   kubectl apply -f deploy/manifests/skoopline.yaml
`;

/** Helm's comments name the template a document is of, which is of no use here, and its own label would claim what it does not manage. */
function plain(rendered: string): string {
  return rendered.replace(/^# Source: .*\n/gm, '').replace(/^ *app\.kubernetes\.io\/managed-by: Helm\n/gm, '');
}

function generate(): string {
  const args = [
    'template',
    'skoopline',
    'deploy/helm/skoopline',
    '--namespace',
    'kube-system',
    '--kube-version',
    '1.31.0',
  ];
  const { status, stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`helm template: ${stderr}`);
  return head + plain(stdout);
}

if (!existsSync(helm)) {
  console.log(`There is no Helm here (tools/setup/helm.sh builds it): ${path} is not compared.`);
} else {
  const wanted = generate();
  const present = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (present !== wanted) {
    if (check) {
      console.log(`${path} is not what the chart says; run make generate.`);
      process.exitCode = 1;
    } else {
      writeFileSync(path, wanted);
      console.log(`wrote ${path}`);
    }
  }
}
