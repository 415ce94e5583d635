/** Markdown of what the benches left: the summary of a run, and docs/overhead.md. */
import type { Result } from './main.ts';

const number = (n: number, digits = 1) => n.toFixed(digits);

function figures(results: readonly Result[]): string {
  const rows = results.flatMap((r) =>
    r.figures.map((f) => {
      const value = f.value === undefined ? 'not found' : `${f.value} ${f.unit}`;
      return `| ${f.what} | ${value} | ${f.aim} | ${f.met ? 'yes' : '**no**'} | ${number(r.load[0])}–${number(r.load[1])} | ${r.name} |`;
    }),
  );
  const head = '| what | measured | aim | met | load average | bench |\n|---|---:|---:|---|---:|---|';
  return `${head}\n${rows.join('\n')}\n`;
}

function blocks(results: readonly Result[]): string {
  return results
    .map((r) => {
      const trouble = r.trouble === undefined ? '' : `\n${r.name}: ${r.trouble}.\n`;
      const when = `\`${r.command}\`, ${number(r.seconds, 0)} s, load average ${number(r.load[0])} before and ${number(r.load[1])} after.`;
      // Tables are Markdown as they are; the rest is text in columns.
      const text = r.text.trim();
      const body = text === '' ? '' : /^\|/m.test(text) ? `\n${text}\n` : `\n\`\`\`text\n${text}\n\`\`\`\n`;
      return `## ${r.name}\n\n${when}\n${trouble}${body}`;
    })
    .join('\n');
}

export function summary(results: readonly Result[]): string {
  return `# Figures of ${results[0]?.at ?? 'no run'}\n\n${results[0]?.machine ?? ''}\n\n${figures(results)}\n${blocks(results)}`;
}

export function overhead(results: readonly Result[]): string {
  return `# What it costs

Made by \`make bench\` and \`node bench/main.ts --write-docs\`; not written by hand. Aims that were missed are shown as missed.

${results[0]?.machine ?? ''}. The load average stands beside each figure: others used the machine at the same time, so times on the wall are upper bounds;
CPU times are the kernel's account of this program's own threads. Ratios are between programs that took turns in the same run, but for KubeSkoop's
figures, which are quoted from a measurement on a machine like this one.

${figures(results)}
${blocks(results)}`;
}
