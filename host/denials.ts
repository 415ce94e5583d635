import { type Capability, missingCapabilities } from './capabilities.ts';
import type { ProcRoot } from './proc-root.ts';

/** What this process may not do to others, what it takes, and what is lost without it. */
const kinds = {
  processes: {
    needs: ['CAP_SYS_PTRACE'],
    lost: 'Some processes cannot be looked into: their namespace, descriptors, I/O, pressure and scheduling are missing',
  },
  namespaces: {
    needs: ['CAP_SYS_ADMIN'],
    lost: 'Some network namespaces cannot be entered: sockets and everything from netlink are missing for their pods',
  },
  descriptors: {
    needs: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'],
    lost: 'Descriptors of some processes cannot be listed: they are missing from the number of their pod',
  },
  io: {
    needs: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'],
    lost: 'I/O of some processes cannot be read: it is missing from the counters of their pod',
  },
  conntrack: {
    needs: ['CAP_NET_ADMIN'],
    lost: 'Connection tracking cannot be asked: its counters and tables are missing',
  },
} as const satisfies Record<string, { needs: readonly Capability[]; lost: string }>;

export type DenialKind = keyof typeof kinds;

/** One sentence: what is missing and what would help. */
export function denialText(kind: DenialKind, root: ProcRoot): string {
  const { needs, lost } = kinds[kind];
  const missing = missingCapabilities(root, needs);
  const help =
    missing.length > 0
      ? `the agent lacks ${missing.join(' and ')}`
      : `the agent has ${needs.join(' and ')}, so a security module (AppArmor, SELinux) or a user namespace forbids it`;
  return `${lost}; ${help}.`;
}

/** The part of a component's context that is told. */
export interface DenialListener {
  readonly log: { warn(details: object, message: string): void };
  readonly telemetry: {
    absent(what: string, reason: string): void;
    counter(
      name: string,
      unit: string,
      description: string,
    ): { add(n: number, attributes?: Readonly<Record<string, string>>): void };
  };
}

/**
 * What a receiver was refused: counted each time, said once. Series that are missing for want of a right look like pods that have none: somebody must be
 * told.
 */
export class Denials {
  readonly #root: ProcRoot;
  readonly #listener: DenialListener;
  readonly #counter: ReturnType<DenialListener['telemetry']['counter']>;
  readonly #said = new Set<DenialKind>();

  constructor(root: ProcRoot, listener: DenialListener) {
    this.#root = root;
    this.#listener = listener;
    this.#counter = listener.telemetry.counter(
      'not_permitted',
      '{refusal}',
      'Namespaces, processes and tables that could not be read for want of a right, each collection anew.',
    );
  }

  /** @param n how many namespaces, processes, ... it was */
  add(kind: DenialKind, n = 1): void {
    if (n <= 0) return;
    this.#counter.add(n, { what: kind });
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    const text = denialText(kind, this.#root);
    this.#listener.telemetry.absent(kind, text);
    this.#listener.log.warn({ what: kind, count: n }, text);
  }
}
