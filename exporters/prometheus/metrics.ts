import { defineMetrics } from '../../pipeline/catalogue.ts';

/** What the exporter itself adds to a scrape. */
export const metrics = defineMetrics({
  'skoop.source.collection.timestamp': {
    instrument: 'gauge',
    unit: 's',
    description: 'When each source was last collected, Unix time: how old the series in this scrape are.',
    attributes: { 'skoop.source': { description: 'Component and scraper, such as `procfs/tcp`.' } },
    source: 'newest snapshot of each source that the exporter holds',
    scope: 'node',
    maxSeries: 100,
    stability: 'beta',
  },
});
