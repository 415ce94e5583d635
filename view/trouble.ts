import { type Quantity, quantityInfo, quantityNames } from './quantities.ts';

/** Weight in the score of each quantity that has one. */
export const troubleWeights: ReadonlyMap<Quantity, number> = new Map(
  quantityNames.flatMap((name): [Quantity, number][] => {
    const { weight } = quantityInfo[name];
    return weight === undefined ? [] : [[name, weight]];
  }),
);

/** Why a pod is in trouble: the quantity that adds most to its score. */
export interface Worst {
  readonly quantity: Quantity;
  /** How often within the window. */
  readonly count: number;
  /** What it was most often, where the quantity is told apart: a drop reason, the type of a reset. */
  readonly label?: string;
  /** How often it was that. */
  readonly labelCount?: number;
}

/**
 * The trouble score: `Σ weight × log2(1 + n)`, n = how often it happened within the window. 0 = nothing did.
 *
 * By the logarithm what is wrong in two ways ranks over what is wrong twice as often in one, and a pod that retransmits a lot because it sends
 * a lot does not hide one whose few connections all fail.
 *
 * @param counts occurrences within the window; undefined = not observed
 */
export function troubleOf(counts: (quantity: Quantity) => number | undefined): {
  score: number;
  worst: Worst | undefined;
} {
  let score = 0;
  let most = 0;
  let worst: Worst | undefined;
  for (const [quantity, weight] of troubleWeights) {
    const count = counts(quantity) ?? 0;
    if (count <= 0) continue;
    const part = weight * Math.log2(1 + count);
    score += part;
    if (part > most) {
      most = part;
      worst = { quantity, count };
    }
  }
  return { score, worst };
}
