import type { LoadedProbe } from '../../bpf/loader.ts';
import type { BpfLink } from '../../host/bpf/object.ts';
import type { ProbeContext } from './probe.ts';

/** How long after the last netfilter drop the chains are still watched. */
const restAfterMs = 60_000;

/**
 * Attaches the programs that watch table walks only while they are of use: they run for every packet, and matter only when netfilter
 * drops some. The first drops after a rest therefore name the hook but neither table nor chain.
 */
export class ChainWatch {
  readonly #mode: 'on_demand' | 'always' | 'off';
  readonly #context: ProbeContext;
  #loaded: LoadedProbe | undefined;
  #links: BpfLink[] = [];
  #attached = false;
  #lastWantedMs = 0;

  constructor(mode: 'on_demand' | 'always' | 'off', context: ProbeContext) {
    this.#mode = mode;
    this.#context = context;
  }

  loaded(loaded: LoadedProbe): void {
    this.#loaded = loaded;
    if (this.#mode === 'always') this.#attach();
  }

  /** There was a netfilter drop. */
  wanted(): void {
    this.#lastWantedMs = this.#context.clock.monotonicMs();
    if (this.#mode === 'on_demand' && !this.#attached) this.#attach();
  }

  /** Once an interval. */
  restIfIdle(): void {
    if (this.#mode !== 'on_demand' || !this.#attached) return;
    if (this.#context.clock.monotonicMs() - this.#lastWantedMs >= restAfterMs) this.close();
  }

  #attach(): void {
    const loaded = this.#loaded;
    if (!loaded) return;
    this.#attached = true;
    for (const hook of loaded.hooks.filter((h) => h.hook !== 'drop')) {
      try {
        for (const name of hook.programs) this.#links.push(loaded.program(name).attach());
      } catch (error) {
        this.#context.telemetry.failed(`watching ${hook.hook}`, error);
      }
    }
  }

  /** Detaches. May be attached again. */
  close(): void {
    for (const link of this.#links.splice(0)) link.destroy();
    this.#links = [];
    this.#attached = false;
  }
}
