import { interval, Observable, type Subscriber } from 'rxjs';
import { type KernelSymbol, type KernelSymbols, sharedSymbols } from '../../host/symbols/kallsyms.ts';
import type { Batch, LogRecord, LogsBatch } from '../../pipeline/batch.ts';
import type { ComponentContext, Processor } from '../../pipeline/component.ts';
import type { SymbolizeConfig } from './config.ts';
import { nameStack } from './stack.ts';

const stackKey = 'skoop.stack';
/** Batches held back while the symbols are read for the first time (a quarter of a second); then they go on as they are. */
const maxHeld = 64;
/** Addresses remembered: each call site is one. */
const maxKnown = 8192;

class Symbolizer {
  readonly #config: SymbolizeConfig;
  readonly #symbols: KernelSymbols;
  readonly #known = new Map<string, KernelSymbol | undefined>();
  #table: KernelSymbols['table'] | undefined;

  constructor(config: SymbolizeConfig, symbols: KernelSymbols) {
    this.#config = config;
    this.#symbols = symbols;
  }

  #lookup = (address: string): KernelSymbol | undefined => {
    if (this.#known.has(address)) return this.#known.get(address);
    if (this.#known.size >= maxKnown) this.#known.clear();
    const symbol = this.#symbols.lookup(address);
    this.#known.set(address, symbol);
    return symbol;
  };

  #record(record: LogRecord): LogRecord {
    const stack = record.attributes[stackKey];
    if (typeof stack !== 'object' || stack.length === 0 || !stack.every((a) => /^[0-9a-f]{1,16}$/.test(a)))
      return record;
    const { max_frames: maxFrames, module_names: moduleNames } = this.#config;
    const named = Object.freeze(nameStack(stack, this.#lookup, { maxFrames, moduleNames }));
    return Object.freeze({ ...record, attributes: Object.freeze({ ...record.attributes, [stackKey]: named }) });
  }

  /** The same batch when it has nothing to name. */
  batch(batch: LogsBatch): LogsBatch {
    if (!this.#symbols.table.readable || !batch.records.some((r) => stackKey in r.attributes)) return batch;
    if (this.#table !== this.#symbols.table) {
      this.#table = this.#symbols.table;
      this.#known.clear();
    }
    return Object.freeze({ ...batch, records: Object.freeze(batch.records.map((r) => this.#record(r))) });
  }
}

/** Makes the processor. @param symbols of this machine, unless a test brings its own */
export function createProcessor(
  config: SymbolizeConfig,
  context: ComponentContext,
  symbols: KernelSymbols = sharedSymbols(),
): Processor {
  const { telemetry, clock } = context;
  return (source$) =>
    new Observable((out: Subscriber<Batch>) => {
      const symbolizer = new Symbolizer(config, symbols);
      let held: Batch[] | undefined = symbols.table.size > 0 ? undefined : [];
      let ended: (() => void) | undefined;
      const emit = (batch: Batch) => out.next(batch.kind === 'logs' ? symbolizer.batch(batch) : batch);
      const release = () => {
        const waiting = held ?? [];
        held = undefined;
        for (const batch of waiting) emit(batch);
        ended?.();
      };
      const refresh = async () => {
        try {
          const table = await symbols.refresh();
          telemetry.recovered('reading kernel symbols');
          if (!table.readable) {
            telemetry.absent(
              'kernel symbols',
              '/proc/kallsyms shows no addresses: it needs CAP_SYSLOG (kernel.kptr_restrict).',
            );
          }
        } catch (error) {
          telemetry.failed('reading kernel symbols', error);
        }
      };
      const subscription = source$.subscribe({
        next: (batch) => {
          if (held === undefined) emit(batch);
          else if (batch.kind !== 'logs') out.next(batch);
          else if (held.push(batch) > maxHeld) release();
        },
        error: (error: unknown) => out.error(error),
        complete: () => {
          if (held === undefined) out.complete();
          else ended = () => out.complete();
        },
      });
      subscription.add(interval(config.refresh_interval, clock.scheduler).subscribe(() => void refresh()));
      void refresh().then(() => {
        if (!out.closed && held !== undefined) release();
      });
      return subscription;
    });
}
