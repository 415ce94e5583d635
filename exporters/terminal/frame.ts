import type { Data, PodData } from './data.ts';
import { helpPage } from './help-page.ts';
import { listPage, padded } from './list-page.ts';
import { podPage } from './pod-page.ts';
import { clean, fill, type Line, type Span, widthOf } from './text.ts';
import type { Ui } from './ui.ts';

/** The whole screen, `height` rows. `pod` is the page that is open; undefined = it is gone. */
export function frame(data: Data, pod: PodData | undefined, ui: Ui, width: number, height: number): Line[] {
  const rows = height - 2;
  return [title(data, ui, width), ...padded(page(data, pod, ui, width, rows), rows), footer(ui, width)].slice(
    0,
    height,
  );
}

function page(data: Data, pod: PodData | undefined, ui: Ui, width: number, height: number): Line[] {
  if (ui.page === 'help') return helpPage(data.windowMs);
  if (ui.page === 'list') return listPage(data, ui, width, height);
  if (pod) return podPage(pod, ui, width, height);
  return [[], [{ text: ' This pod is gone. esc goes back.', style: 'warn' }]];
}

function title({ node, timeMs }: Data, ui: Ui, width: number): Line {
  const left = ` skoopline top  ${clean(node.name)}`;
  const right = `${ui.paused ? 'PAUSED  ' : ''}${new Date(timeMs).toISOString().slice(11, 19)} UTC `;
  const space = Math.max(1, width - left.length - right.length);
  return [{ text: `${left}${' '.repeat(space)}${right}`.slice(0, width), style: 'bar' }];
}

function footer(ui: Ui, width: number): Line {
  if (ui.typing !== undefined) return [{ text: ' events with: ', style: 'bold' }, { text: `${clean(ui.typing)}▏` }];
  const keys: Record<Ui['page'], readonly string[]> = {
    list: [
      'q quit',
      '↑↓ select',
      'enter open',
      's sort',
      'a all',
      '/ filter',
      `p ${ui.paused ? 'go on' : 'pause'}`,
      '? help',
    ],
    pod: ['q quit', '↑↓ scroll', 'esc back', '/ filter', `p ${ui.paused ? 'go on' : 'pause'}`, '? help'],
    help: ['q quit', 'esc back'],
  };
  const spans: Span[] = keys[ui.page].map((k) => ({ text: ` ${k} `, style: 'dim' }));
  return widthOf(spans) < width ? fill(spans, width) : spans;
}
