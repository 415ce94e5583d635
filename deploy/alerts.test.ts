/**
 * When each alert fires, with its own `for` and its own five minutes: promtool plays series a little below, at and above the threshold. That real
 * faults make such series is shown by test/interop/alerts.test.ts.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { type Alert, ruleFiles } from '../tools/dashboards/alerts.ts';
import { deployFolder } from './testing.ts';

const skip = spawnSync('promtool', ['--version']).status === 0 ? false : 'promtool is not installed';
const alerts = ruleFiles.flatMap((f) => f.groups.flatMap((g) => g.alerts.map((a) => ({ ...a, file: f.file }))));

const stepS = 15;
const seconds = (duration: string) => Number.parseInt(duration, 10) * { s: 1, m: 60, h: 3600 }[duration.at(-1) as 's']!;

interface Selector {
  readonly metric: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Each metric of an expression with labels that its matchers and groupings ask for. */
function selectorsOf(expr: string): Selector[] {
  const groups = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap((m) => m[1]!.split(', '));
  return Array.from(expr.matchAll(/(\w+)\{([^}]*)\}/g), ([, metric, matchers]) => {
    const labels: Record<string, string> = Object.fromEntries(groups.map((g) => [g, `a-${g}`]));
    for (const [, name, operator, value] of matchers!.matchAll(/(\w+)(!=|=)"([^"]*)"/g)) {
      if (operator === '=' && value !== '') labels[name!] = value!;
      else if (operator === '=') delete labels[name!];
    }
    return { metric: metric!, labels };
  });
}

/** Series that make the expression give `value` for half an hour. Of a ratio the second metric is 10 000 (a second, where rates are compared). */
function seriesFor(expr: string, value: number) {
  const perStep = (v: number) => (expr.includes('rate(') ? `0+${v * stepS}x120` : `${v}+0x120`);
  return selectorsOf(expr).map(({ metric, labels }, i, all) => {
    const pairs = Object.entries(labels).map(([k, v]) => `${k}="${v}"`);
    const isRatio = all.length === 2;
    return {
      series: `${metric}{${pairs.join(',')}}`,
      values: perStep(isRatio ? 10_000 * (i === 0 ? value : 1) : value),
    };
  });
}

/** One case of promtool: while the expression gives `value`, does the alert fire at these times? */
function caseOf({ alert, expr }: Alert, value: number, times: readonly (readonly [atS: number, fires: boolean])[]) {
  return {
    interval: `${stepS}s`,
    input_series: seriesFor(expr, value),
    promql_expr_test: times.map(([atS, fires]) => ({
      expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
      eval_time: `${atS}s`,
      exp_samples: fires ? [{ labels: '{}', value: 1 }] : [],
    })),
  };
}

/** What promtool says of the cases of one alert, as its file has it; the others of the file would only take time. */
function play({ alert, file }: Alert & { readonly file: string }, tests: readonly object[]): string {
  const folder = mkdtempSync(`${tmpdir()}/skl-alerts-`);
  try {
    const { groups } = parse(readFileSync(`${deployFolder}/alerts/${file}`, 'utf8')) as {
      groups: { name: string; rules: { alert: string }[] }[];
    };
    const one = groups.map((g) => ({ ...g, rules: g.rules.filter((r) => r.alert === alert) }));
    writeFileSync(`${folder}/rules.yaml`, stringify({ groups: one.filter((g) => g.rules.length > 0) }));
    const cases = { rule_files: ['rules.yaml'], evaluation_interval: `${stepS}s`, tests };
    writeFileSync(`${folder}/tests.yaml`, stringify(cases));
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', `${folder}/tests.yaml`], {
      encoding: 'utf8',
    });
    return status === 0 ? 'as expected' : stdout + stderr;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('when alerts fire', { skip }, () => {
  for (const alert of alerts) {
    test(alert.alert, () => {
      const [, operator, text] = /(==|>) ([\d.]+)$/.exec(alert.expr)!;
      const threshold = Number(text);
      const isEqual = operator === '==';
      // A rate needs two samples, and shows what has just begun as less than it is: far above, it counts from the first pair.
      const firstS = alert.expr.includes('rate(') ? stepS : 0;
      const far = isEqual ? threshold : threshold === 0 ? 1 : threshold * 100;
      const forS = seconds(alert.for);
      const lateS = forS + 600;
      assert.ok(forS >= 60, 'no alert for a moment');
      const cases = [
        caseOf(alert, far, [
          [firstS + forS - stepS, false],
          [firstS + forS, true],
          [lateS, true],
        ]),
        caseOf(alert, isEqual ? threshold : threshold + (threshold || 1) * 0.02, [[lateS, true]]),
        caseOf(alert, isEqual ? 1 - threshold : threshold * 0.98, [[lateS, false]]),
      ];
      assert.equal(play(alert, cases), 'as expected');
    });
  }

  test('a case that is not as expected is told', () => {
    const alert = alerts.find((a) => a.alert === 'SkooplinePodUdpBufferFull')!;
    assert.match(play(alert, [caseOf(alert, 0, [[600, true]])]), /FAILED/);
    assert.match(play(alert, [caseOf(alert, 1, [[600, false]])]), /FAILED/);
  });
});
