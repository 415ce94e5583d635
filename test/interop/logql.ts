/**
 * As much of LogQL as the events dashboard uses, over what was pushed to a Loki: log queries, and `count_over_time` within `sum by` and `topk`.
 * There is no Loki among the packages that tests may install; anything else in a query is an error here.
 * https://grafana.com/docs/loki/latest/query/
 */

/** The body of a push, as Loki's HTTP API takes it in JSON. */
export interface Push {
  readonly streams: readonly {
    readonly stream: Readonly<Record<string, string>>;
    readonly values: readonly (readonly [timeNs: string, line: string, metadata?: Readonly<Record<string, string>>])[];
  }[];
}

interface Line {
  readonly labels: Readonly<Record<string, string>>;
  readonly line: string;
}

/** One group of lines: its labels and how many there are. */
export interface Group {
  readonly labels: Readonly<Record<string, string>>;
  readonly count: number;
}

/** `key=value` pairs of a line; a key that the stream or its metadata has already gets `_extracted`, as in Loki. */
function logfmt({ labels, line }: Line): Line {
  const extracted = Object.fromEntries(
    Array.from(line.matchAll(/(?:^|\s)([^\s=]+)=(\S*)/g), ([, key, value]) => {
      const name = key!.replace(/[^a-zA-Z0-9_]/g, '_');
      return [name in labels ? `${name}_extracted` : name, value!];
    }),
  );
  return { labels: { ...labels, ...extracted }, line };
}

function selected(selector: string, pushes: readonly Push[]): Line[] {
  const matchers = selector.split(',').map((text) => {
    const [, name, operator, value] = /^\s*(\w+)\s*(=~|=)\s*"([^"]*)"\s*$/.exec(text) ?? [];
    if (name === undefined) throw new Error(`No matcher of LogQL that is known here: ${text}`);
    const wanted = operator === '=~' ? new RegExp(`^(?:${value})$`) : undefined;
    return (labels: Readonly<Record<string, string>>) =>
      wanted ? wanted.test(labels[name] ?? '') : labels[name] === value;
  });
  return pushes.flatMap(({ streams }) =>
    streams
      .filter(({ stream }) => matchers.every((m) => m(stream)))
      .flatMap(({ stream, values }) =>
        values.map(([, line, metadata]) => ({ labels: { ...stream, ...metadata }, line })),
      ),
  );
}

/** What a query finds in all that was pushed, whatever its time range; a log query is one group. @throws on syntax that is not known here */
export function evaluate(query: string, pushes: readonly Push[]): Group[] {
  const counted =
    /^(?:topk\((\d+), )?sum by \(([\w, ]+)\) \(count_over_time\(\{([^}]*)\}( \| logfmt)? \[\w+\]\)\)\)?$/.exec(query);
  if (!counted) {
    const plain = /^\{([^}]*)\}$/.exec(query);
    if (!plain) throw new Error(`No LogQL that is known here: ${query}`);
    return [{ labels: {}, count: selected(plain[1]!, pushes).length }];
  }
  const [, limit, by, selector, parser] = counted;
  const names = by!.split(/, */);
  const groups = new Map<string, { labels: Record<string, string>; count: number }>();
  for (const line of selected(selector!, pushes)) {
    const { labels } = parser ? logfmt(line) : line;
    const own = Object.fromEntries(names.flatMap((n) => (labels[n] ? [[n, labels[n]]] : [])));
    const key = JSON.stringify(own);
    const group = groups.get(key);
    if (group) group.count++;
    else groups.set(key, { labels: own, count: 1 });
  }
  const sorted = [...groups.values()].sort((a, b) => b.count - a.count);
  return limit === undefined ? sorted : sorted.slice(0, Number(limit));
}
