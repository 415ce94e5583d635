/**
 * Writes deploy/dashboards/*.json (Grafana) and deploy/alerts/*.yaml (Prometheus rules) with names from the catalogue: a query for a metric that
 * is not there ends it with an error. With `--check` it writes nothing and exits 1 when a file differs.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { type RuleFile, ruleFiles } from './dashboards/alerts.ts';
import { dashboards } from './dashboards/dashboards.ts';
import { grafanaJson } from './dashboards/grafana.ts';

process.chdir(`${import.meta.dirname}/..`);
const check = process.argv.includes('--check');

function rules({ groups }: RuleFile): string {
  const body = {
    groups: groups.map(({ name, alerts }) => ({
      name,
      rules: alerts.map(({ severity, summary, description, ...rule }) => ({
        ...rule,
        labels: { severity },
        annotations: { summary, description },
      })),
    })),
  };
  return `# Written by \`make generate\` from tools/dashboards/alerts.ts; a change made here is lost.\n${stringify(body, { lineWidth: 0 })}`;
}

const wanted = new Map<string, string>([
  ...dashboards.map((d) => [`deploy/dashboards/${d.file}`, grafanaJson(d)] as const),
  ...ruleFiles.map((f) => [`deploy/alerts/${f.file}`, rules(f)] as const),
]);
for (const folder of ['deploy/dashboards', 'deploy/alerts']) if (!check) mkdirSync(folder, { recursive: true });
for (const [path, text] of wanted) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
  if (check) {
    console.log(`${path} is not what tools/dashboards says; run make generate.`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, text);
    console.log(`wrote ${path}`);
  }
}
