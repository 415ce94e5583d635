import { filter, map } from 'rxjs';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { MemoryLimiterConfig } from './config.ts';
import { fillOf, type MemoryReading, readMemory } from './memory.ts';
import { levels, nextLevel, shed } from './shedding.ts';

/** Makes the processor. `read` is the process's own memory unless a test brings another. */
export function createProcessor(
  config: MemoryLimiterConfig,
  context: ComponentContext,
  read: () => MemoryReading = readMemory,
): Processor {
  const { clock, telemetry, log } = context;
  let checkedMs = Number.NEGATIVE_INFINITY;
  let level = 0;
  telemetry.gauge('memory_fill', '1', 'How full the tightest memory limit is.', () => fillOf(read(), config));
  telemetry.gauge(
    'shedding_level',
    '1',
    'What is shed: 1 debug events, 2 events, 3 per-flow series, 4 all.',
    () => level,
  );

  const check = () => {
    const now = clock.monotonicMs();
    if (now - checkedMs < config.check_interval) return;
    checkedMs = now;
    const reading = read();
    const fill = fillOf(reading, config);
    const next = nextLevel(level, fill);
    if (next === level) return;
    const fields = {
      fill: Number(fill.toFixed(3)),
      rss: reading.rss,
      heapUsed: reading.heapUsed,
      sheds: levels[next]!.name,
    };
    if (next > level) log.warn(fields, 'Memory is short: shedding load.');
    else log.info(fields, 'Memory eased: shedding less.');
    level = next;
  };

  return (source$) =>
    source$.pipe(
      map((batch) => {
        check();
        if (level === 0) return batch;
        const result = shed(batch, level);
        if (!result) return batch;
        telemetry.dropped(`memory_${result.reason}`, result.dropped, batch.kind);
        return result.batch;
      }),
      filter((batch) => batch !== undefined),
    );
}
