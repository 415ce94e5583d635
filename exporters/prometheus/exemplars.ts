import type { Exemplar } from '../../pipeline/batch.ts';
import { labelText } from './escape.ts';
import { type Label, labelsOf } from './naming.ts';
import { numberText } from './numbers.ts';

/** Most characters of an exemplar's label names and values together (OpenMetrics 1.0, "Exemplars"; Prometheus refuses the scrape's exemplar above). */
const maxCharacters = 128;

const characters = ({ name, value }: Label) => [...name, ...value].length;

/** Labels of an exemplar. Where there are too many characters, the longest label goes first: ports and process ids say more than they take. */
export function exemplarLabels({ attributes }: Exemplar): readonly Label[] {
  const labels = labelsOf(attributes);
  let total = labels.reduce((n, label) => n + characters(label), 0);
  while (total > maxCharacters) {
    const longest = labels.reduce((a, b) => (characters(b) > characters(a) ? b : a));
    labels.splice(labels.indexOf(longest), 1);
    total -= characters(longest);
  }
  return labels;
}

const texts = new WeakMap<Exemplar, Buffer>();

/** What OpenMetrics writes behind a bucket's count: ` # {process_pid="7"} 0.25 1732811234.500000000`. */
export function exemplarText(exemplar: Exemplar): Buffer {
  let text = texts.get(exemplar);
  if (!text) {
    const { value, timeUnixNs } = exemplar;
    const fraction = String(timeUnixNs % 1_000_000_000n).padStart(9, '0');
    const time = `${timeUnixNs / 1_000_000_000n}.${fraction}`;
    text = Buffer.from(` # {${labelText(exemplarLabels(exemplar))}} ${numberText(value)} ${time}`);
    texts.set(exemplar, text);
  }
  return text;
}
