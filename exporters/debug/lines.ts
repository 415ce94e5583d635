import type {
  Batch,
  EntitiesBatch,
  Entity,
  LogRecord,
  LogsBatch,
  MetricsBatch,
  Snapshot,
} from '../../pipeline/batch.ts';
import { itemCount } from '../../pipeline/batch.ts';
import type { Attributes } from '../../pipeline/catalogue.ts';
import { escapeValue, eventJson, eventLine, isoTime, lineOwner } from '../../pipeline/event-line.ts';
import type { Config } from './config.ts';

/** The text of a batch, each line ended; empty when the config asks for none of it. */
export function textOf(batch: Batch, config: Config): string {
  switch (batch.kind) {
    case 'logs':
      return logsText(batch, config);
    case 'metrics':
      return metricsText(batch, config);
    case 'entities':
      return config.verbosity === 'detailed' ? entitiesText(batch) : '';
  }
}

function logsText(batch: LogsBatch, config: Config): string {
  if (config.verbosity === 'basic') return summaryLine(batch);
  let out = '';
  for (const record of batch.records) out += `${recordText(record, config)}\n`;
  return out;
}

function recordText(record: LogRecord, { format, timestamp, verbosity }: Config): string {
  if (format === 'json') return eventJson(record);
  const line = eventLine(record, timestamp);
  if (verbosity !== 'detailed') return line;
  const resource = pairs(record.resource.attributes);
  return `${line}\n  event=${record.eventName} severity=${record.severityNumber}${resource}\n  ${escapeLine(record.body)}`;
}

function summaryLine(batch: Batch): string {
  return `signal=${batch.kind} source=${escapeValue(batch.source)} items=${itemCount(batch)}\n`;
}

function metricsText(batch: MetricsBatch, config: Config): string {
  if (config.metrics === 'none') return '';
  if (config.metrics === 'summary') {
    return summaryLine(batch).replace('\n', ` owners=${batch.snapshots.length}\n`);
  }
  let out = '';
  for (const snapshot of batch.snapshots) out += snapshotText(snapshot);
  return out;
}

function snapshotText({ resource, schema, values, timeMs }: Snapshot): string {
  const { pod, namespace } = lineOwner(resource);
  const owner = `pod=${escapeValue(pod)} namespace=${escapeValue(namespace)}`;
  const time = isoTime(BigInt(Math.round(timeMs * 1e6)));
  let out = '';
  for (const { metric, attributes, offset } of schema.series) {
    const first = values[offset]!;
    if (Number.isNaN(first)) continue;
    const value = metric.histogram ? `count=${first} sum=${values[offset + 1]}` : `value=${first}`;
    out += `time=${time} metric=${metric.name} ${owner} ${value} unit=${escapeValue(metric.unit)}${pairs(attributes)}\n`;
  }
  return out;
}

function entitiesText(batch: EntitiesBatch): string {
  let out = '';
  for (const entity of batch.entities) out += `${entityText(entity)}\n`;
  return out;
}

function entityText(entity: Entity): string {
  switch (entity.kind) {
    case 'pod':
      return `entity=pod pod=${escapeValue(entity.name)} namespace=${escapeValue(entity.namespace)} state=${entity.state} netns=${entity.netns ?? '-'} ips=${entity.ips.join(',')}`;
    case 'netns':
      return `entity=netns netns=${entity.netns} host=${entity.host} pid=${entity.pid ?? '-'} comm=${escapeValue(entity.comm ?? '-')}`;
    case 'peer': {
      const { peer, name, namespace, node, workload, ips } = entity;
      const owner = workload === undefined ? '-' : `${workload.kind}/${escapeValue(workload.name)}`;
      return `entity=peer ${peer}=${escapeValue(name)} namespace=${escapeValue(namespace || '-')} workload=${owner} node=${escapeValue(node ?? '-')} ips=${ips.join(',')}`;
    }
  }
}

function pairs(attributes: Attributes): string {
  let out = '';
  for (const [key, value] of Object.entries(attributes)) {
    out += ` ${key}=${escapeValue(typeof value === 'object' ? value.join(',') : String(value))}`;
  }
  return out;
}

/** A body stays on its line; its spaces are its own. */
function escapeLine(text: string): string {
  return text.split(' ').map(escapeValue).join(' ');
}
