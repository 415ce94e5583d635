import type { Attributes } from '../../pipeline/catalogue.ts';

/** The two ends of what a record or a series is about, as far as it says. */
export interface Ends {
  /** Address of the far end. */
  readonly far: string | undefined;
  /** Address of the near end. */
  readonly near: string | undefined;
}

const none: Ends = Object.freeze({ far: undefined, near: undefined });

/** True when the metric's series may have an address of a far end. */
export function hasAddresses(attributes: Readonly<Record<string, unknown>>): boolean {
  return 'destination.address' in attributes || 'network.peer.address' in attributes;
}

/**
 * The ends of an event. Its source is the sender of a packet or the local end of a connection, by what the probe saw: which one is the owner's
 * is told by the owner's addresses. Where neither is (a packet that the node forwards), its destination is the far end and its source the near.
 *
 * @param isNamed tells whether an address has a name.
 */
export function endsOfEvent(
  attributes: Attributes,
  own: ReadonlySet<string>,
  isNamed: (address: string) => boolean,
): Ends {
  const source = textOf(attributes['source.address']);
  const destination = textOf(attributes['destination.address']);
  // An address alone is where somebody listens.
  if (source === undefined || destination === undefined) return farOnly(textOf(attributes['network.peer.address']));
  return (
    byOwn(source, destination, own) ??
    (isNamed(destination) || !isNamed(source) ? { far: destination, near: source } : { far: source, near: destination })
  );
}

/** The ends of a series. Where it has a direction, the sender is the far end of what is received. */
export function endsOfSeries(attributes: Attributes, own: ReadonlySet<string>): Ends {
  const source = textOf(attributes['source.address']);
  const destination = textOf(attributes['destination.address']);
  if (source === undefined || destination === undefined) {
    return farOnly(textOf(attributes['network.peer.address']) ?? destination);
  }
  switch (attributes['network.io.direction']) {
    case 'receive':
      return { far: source, near: destination };
    case 'transmit':
      return { far: destination, near: source };
    default:
      return byOwn(source, destination, own) ?? { far: destination, near: source };
  }
}

/** Undefined when none of both is the owner's. */
function byOwn(source: string, destination: string, own: ReadonlySet<string>): Ends | undefined {
  const [fromOwn, toOwn] = [own.has(source), own.has(destination)];
  if (fromOwn && toOwn) return none;
  if (fromOwn) return { far: destination, near: source };
  return toOwn ? { far: source, near: destination } : undefined;
}

function farOnly(far: string | undefined): Ends {
  return far === undefined ? none : { far, near: undefined };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
