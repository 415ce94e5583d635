/** Dashboards as Grafana's JSON model (schemaVersion 39), from short descriptions. */

export interface Query {
  readonly expr: string;
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** Grafana's unit id: `pps`, `Bps`, `s`, `short`, ... */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Default `timeseries`. */
  readonly type?: 'timeseries' | 'logs';
  readonly description?: string;
}

export interface Variable {
  readonly name: string;
  readonly query: string;
}

export interface Dashboard {
  readonly file: string;
  readonly uid: string;
  readonly title: string;
  readonly source: 'prometheus' | 'loki';
  readonly variables: readonly Variable[];
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[];
}

const width = 8;
const height = 8;

// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's own way to name a variable.
const datasourceUid = '${datasource}';

/** The JSON that Grafana imports. */
export function grafanaJson(dashboard: Dashboard): string {
  const datasource = { type: dashboard.source, uid: datasourceUid };
  const panels: object[] = [];
  let y = 0;
  let id = 0;
  for (const row of dashboard.rows) {
    panels.push({
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: 24, h: 1 },
      panels: [],
    });
    y += 1;
    row.panels.forEach((panel, i) => {
      const wide = panel.type === 'logs';
      const x = wide ? 0 : (i % 3) * width;
      panels.push({
        id: ++id,
        type: panel.type ?? 'timeseries',
        title: panel.title,
        ...(panel.description ? { description: panel.description } : {}),
        datasource,
        gridPos: {
          x,
          y: y + (wide ? 0 : Math.floor(i / 3) * height),
          w: wide ? 24 : width,
          h: wide ? 2 * height : height,
        },
        fieldConfig: {
          defaults: { unit: panel.unit, min: 0, custom: { fillOpacity: 10, showPoints: 'never' } },
          overrides: [],
        },
        options: wide
          ? { showTime: true, wrapLogMessage: true, enableLogDetails: true, sortOrder: 'Descending' }
          : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
        targets: panel.queries.map((q, n) => ({
          refId: String.fromCharCode(65 + n),
          datasource,
          expr: q.expr,
          legendFormat: q.legend,
        })),
      });
    });
    const last = row.panels.at(-1);
    y += last?.type === 'logs' ? 2 * height : Math.ceil(row.panels.length / 3) * height;
  }
  const model = {
    uid: dashboard.uid,
    title: dashboard.title,
    tags: ['skoopline'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: dashboard.source, label: 'Data source' },
        ...dashboard.variables.map((v) => ({
          name: v.name,
          type: 'query',
          datasource,
          query: v.query,
          refresh: 2,
          sort: 1,
          multi: true,
          includeAll: true,
          allValue: '.*',
          current: { text: 'All', value: '$__all' },
        })),
      ],
    },
    panels,
  };
  return `${JSON.stringify(model, undefined, 2)}\n`;
}
