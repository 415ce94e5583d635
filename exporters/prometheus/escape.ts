import type { Family, Label } from './naming.ts';

/**
 * Escaping of the two text formats, and the text of `#` lines and labels.
 * Sources: Prometheus "Exposition formats" (text 0.0.4) and the OpenMetrics 1.0 ABNF.
 */
export type TextFormat = 'text' | 'openmetrics';

/** Inside the quotes of a label value: backslash, double quote and line feed, in both formats. */
export function escapeLabelValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`)) : value;
}

/** HELP text: backslash and line feed; OpenMetrics escapes the double quote too. */
export function escapeHelp(text: string, format: TextFormat): string {
  const out = text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
  return format === 'openmetrics' ? out.replace(/"/g, '\\"') : out;
}

/** `a="1",b="2"`, without braces. */
export function labelText(labels: readonly Label[]): string {
  let out = '';
  for (const l of labels) out += `${out === '' ? '' : ','}${l.name}="${escapeLabelValue(l.value)}"`;
  return out;
}

/**
 * The `#` lines of a family. OpenMetrics names a counter's family without `_total`, and an info's without `_info`; a counter whose
 * name lacks `_total` (KubeSkoop's have none) cannot be an OpenMetrics counter and is typed `unknown` there, which keeps its name.
 */
export function header(family: Family, format: TextFormat): string {
  if (format === 'text') {
    return `# HELP ${family.name} ${escapeHelp(family.help, format)}\n# TYPE ${family.name} ${family.type}\n`;
  }
  const { name, type } = openMetricsFamily(family);
  const unit = family.unit !== '' && name.endsWith(`_${family.unit}`) ? `# UNIT ${name} ${family.unit}\n` : '';
  return `# TYPE ${name} ${type}\n${unit}# HELP ${name} ${escapeHelp(family.help, format)}\n`;
}

function openMetricsFamily(family: Family): { name: string; type: string } {
  if (family.name === 'target_info') return { name: 'target', type: 'info' };
  if (family.type !== 'counter') return { name: family.name, type: family.type };
  if (family.name.endsWith('_total')) return { name: family.name.slice(0, -'_total'.length), type: 'counter' };
  return { name: family.name, type: 'unknown' };
}
