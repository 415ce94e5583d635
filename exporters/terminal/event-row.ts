import { eventLine } from '../../pipeline/event-line.ts';
import type { ViewEvent } from '../../view/types.ts';
import { clean, type Span, type Style } from './text.ts';

const styles: Readonly<Record<number, Style>> = { 5: 'dim', 13: 'warn', 17: 'bad' };

/** ` 15:04:05 PACKETLOSS pod=web-1 namespace=shop …`: the event line without its stack, which the width of a screen has no room for. */
export function eventRow({ type, record }: ViewEvent): Span[] {
  const time = new Date(Number(record.timeUnixNs / 1_000_000n)).toISOString().slice(11, 19);
  const { 'skoop.stack': _, ...attributes } = record.attributes;
  const line = eventLine({ ...record, attributes });
  const style = styles[record.severityNumber];
  return [
    { text: ` ${time} `, style: 'dim' },
    { text: clean(type), ...(style && { style }) },
    { text: clean(line.slice(line.indexOf(' '))) },
  ];
}
