import type { Command } from './command.ts';
import { commands } from './commands.ts';

/** Help texts stay within this. */
const columns = 100;

export function overview(): string {
  const width = Math.max(...Object.keys(commands).map((n) => n.length));
  const list = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    'skoopline watches pod networking on one Kubernetes node and sends on what it saw.',
    '',
    'Usage: skoopline COMMAND [OPTIONS]',
    '',
    'Commands:',
    ...list,
    `  ${'help'.padEnd(width)}  Tell about a command: skoopline help run`,
    '',
    'Exit status: 0 done, 78 the config cannot be used, 1 anything else.',
    '',
  ].join('\n');
}

export function commandHelp(name: string, command: Command): string {
  const options = Object.entries({ ...command.options, help: { short: 'h', help: 'This text.' } }).map(([key, o]) => {
    const value = 'value' in o && o.value ? ` ${o.value}` : '';
    return { flag: `${'short' in o && o.short ? `-${o.short}, ` : '    '}--${key}${value}`, help: o.help };
  });
  const width = Math.max(...options.map((o) => o.flag.length));
  const lines = [
    `Usage: skoopline ${name} ${command.usage}`.trimEnd(),
    '',
    ...command.about.split('\n').flatMap((line) => wrap(line, 0)),
    '',
    'Options:',
    ...options.flatMap((o) => wrap(`  ${o.flag.padEnd(width)}  ${o.help}`, width + 4)),
  ];
  if (command.examples.length > 0) lines.push('', 'Examples:', ...command.examples.map((e) => `  ${e}`));
  return `${lines.join('\n')}\n`;
}

/** Breaks a line between words; what follows is indented. */
function wrap(line: string, indent: number): string[] {
  if (line.length <= columns) return [line];
  const cut = line.lastIndexOf(' ', columns);
  if (cut <= indent) return [line];
  return [line.slice(0, cut), ...wrap(' '.repeat(indent) + line.slice(cut + 1), indent)];
}
