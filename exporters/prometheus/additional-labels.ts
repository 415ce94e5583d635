import type { Attributes } from '../../pipeline/catalogue.ts';
import { labelValue } from './naming.ts';

/**
 * `additional_labels`, as KubeSkoop has them: `name=expression`, where the expression may hold `${labels:KEY}` any number of times,
 * each replaced by the pod's label KEY (the `k8s.pod.label.KEY` attribute that `processors/pod` sets; empty when the pod lacks it).
 */
export interface AdditionalLabel {
  readonly name: string;
  /** Texts and label keys in turn: text, key, text, key, …, text. */
  readonly pieces: readonly string[];
}

/** Parses one entry; a string is the reason why it cannot be one. */
export function parseAdditionalLabel(text: string): AdditionalLabel | string {
  const at = text.indexOf('=');
  if (at < 0) return `expected name=expression, such as app=\${labels:app}, got '${text}'`;
  const name = text.slice(0, at).trim();
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name.startsWith('__')) {
    return `'${name}' cannot be a label name: letters, digits and _, not beginning with a digit or __`;
  }
  const expression = text.slice(at + 1).trim();
  const pieces = expression.split(/\$\{labels:([^}]*)\}/);
  if (pieces.some((p, i) => i % 2 === 0 && p.includes('${'))) {
    return `only \${labels:KEY} can stand in an expression, got '${expression}'`;
  }
  return { name, pieces };
}

/** The value for one resource. */
export function additionalValue(label: AdditionalLabel, attributes: Attributes): string {
  let out = '';
  label.pieces.forEach((piece, i) => {
    if (i % 2 === 0) out += piece;
    else {
      const value = attributes[`k8s.pod.label.${piece}`];
      out += value === undefined ? '' : labelValue(value);
    }
  });
  return out;
}
