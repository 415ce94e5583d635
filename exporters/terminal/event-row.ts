import { eventLine } from '../../pipeline/event-line.ts';
import type { ViewEvent } from '../../view/types.ts';
import { clean, type Span, type Style } from './text.ts';

const styles: Readonly<Record<number, Style>> = { 5: 'dim', 13: 'warn', 17: 'bad' };

/** Left out of a row, which has no room for them: what comes behind says more. */
const leftOut = new Set(['network.type', 'network.io.direction', 'skoop.reset.type', 'skoop.stack']);

/** ` 15:04:05 PACKETLOSS pod=web-1 namespace=shop …`: the event line, shortened. */
export function eventRow({ type, record }: ViewEvent): Span[] {
  const time = new Date(Number(record.timeUnixNs / 1_000_000n)).toISOString().slice(11, 19);
  const attributes = Object.fromEntries(Object.entries(record.attributes).filter(([key]) => !leftOut.has(key)));
  const line = eventLine({ ...record, attributes });
  const style = styles[record.severityNumber];
  return [
    { text: ` ${time} `, style: 'dim' },
    { text: clean(type), ...(style && { style }) },
    { text: clean(line.slice(line.indexOf(' '))) },
  ];
}
