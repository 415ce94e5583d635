/** One of the page's views: what it listens to, and how it shows what it hears. */
export interface View {
  readonly title: string;
  /** Topic of its stream, below `/live/`. May change: see {@link Shell.reopen}. */
  topic(): string;
  /** Takes a message of the topic. */
  update(message: unknown): void;
  /** Frees what is not freed with its elements. */
  close?(): void;
}

/** What a view gets to work with. */
export interface Shell {
  readonly root: HTMLElement;
  /** What follows `?` in the address. */
  readonly query: URLSearchParams;
  /** Opens the view's stream anew after its topic has changed, and puts the query into the address. */
  reopen(query: URLSearchParams): void;
}

/** Address of a pod's page. */
export function podHref(key: string): string {
  return `#/pod/${encodeURIComponent(key)}`;
}
