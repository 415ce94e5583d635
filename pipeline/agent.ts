import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type Logger, levels } from 'pino';
import { asyncScheduler, firstValueFrom, Subject, type Subscription } from 'rxjs';
import { type Clock, systemClock } from './clock.ts';
import type { ComponentRegistry, NodeIdentity } from './component.ts';
import { readConfigFile, unreadable } from './config/file.ts';
import { type AgentConfig, type Problem, problemText, readConfig } from './config.ts';
import { deadlineAfter, Engine, type EngineParts } from './engine.ts';
import { AgentError, messageOf } from './errors.ts';
import { type AgentPhase, healthPages } from './health.ts';
import { createQueue } from './queue/index.ts';
import { type ConfigChange, configChanges } from './reload.ts';
import { type Served, serve } from './serve.ts';
import { States } from './states.ts';
import type { Cell } from './telemetry/cells.ts';
import { AgentTelemetry, logDiagnostics } from './telemetry.ts';

/** The config cannot be used. One problem a line is in {@link problems}. */
export class ConfigError extends AgentError {
  readonly problems: readonly Problem[];
  constructor(file: string, problems: readonly Problem[]) {
    const errors = problems.filter((p) => p.severity === 'error').length;
    super('E_CONFIG', `${file} has ${errors} ${errors === 1 ? 'error' : 'errors'}.`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export interface AgentOptions {
  /** Path of the config, as the user gave it: it stands in messages. */
  readonly file: string;
  readonly registry: ComponentRegistry;
  readonly log: Logger;
  readonly version: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
  /** Rules over `service.telemetry.logs.level`. */
  readonly logLevel?: string;
  readonly createQueue?: EngineParts['createQueue'];
}

/** Where the agent's own endpoints came to listen. */
export interface AgentAddresses {
  readonly metrics: string | undefined;
  readonly health: string | undefined;
}

/** The whole agent: a config file, the engine that runs it, its own endpoints, and the change from one config to the next. */
export class Agent {
  readonly telemetry: AgentTelemetry;
  readonly engine: Engine;
  readonly #options: AgentOptions;
  readonly #clock: Clock;
  readonly #asked$ = new Subject<void>();
  readonly #results$ = new Subject<boolean>();
  readonly #reloads: { success: number; atMs: number; hash: number };
  readonly #reloadCount: Readonly<Record<'success' | 'failure', Cell>>;
  #config: AgentConfig;
  #text: string;
  #phase: AgentPhase = 'starting';
  #servers: { metrics?: { at: string; served: Served }; health?: { at: string; served: Served } } = {};
  #watching: Subscription | undefined;
  #reloading: Promise<void> = Promise.resolve();

  /** Reads the config. @throws ConfigError @throws AgentError when the file cannot be read. */
  static async load(options: AgentOptions): Promise<Agent> {
    const text = await readConfigFile(options.file);
    return new Agent(options, await checked(text, options), text);
  }

  private constructor(options: AgentOptions, config: AgentConfig, text: string) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#config = config;
    this.#text = text;
    const { log, version } = options;
    this.telemetry = new AgentTelemetry({ clock: this.#clock, log, version, node: identityOf(config, options) });
    this.engine = new Engine({
      clock: this.#clock,
      log,
      telemetry: this.telemetry,
      states: new States(),
      createQueue: options.createQueue ?? createQueue,
      version,
    });
    this.#reloads = { success: 1, atMs: this.#clock.nowMs(), hash: hashNumber(config.hash) };
    const count = (result: string) =>
      this.telemetry.counter('otelcol_config_reloads', '{reload}', 'Changes of config by result.', { result });
    this.#reloadCount = { success: count('success'), failure: count('failure') };
    const gauge = (name: string, unit: string, words: string, read: () => number) =>
      this.telemetry.gauge(`otelcol_config_${name}`, unit, words, read);
    gauge('hash', '1', 'First 48 bits of the SHA-256 of the config that runs.', () => this.#reloads.hash);
    gauge('last_reload_successful', '1', 'Whether the last change of config was taken.', () => this.#reloads.success);
    gauge('last_reload_success_timestamp', 's', 'When a config was last taken.', () => this.#reloads.atMs / 1000);
  }

  get config(): AgentConfig {
    return this.#config;
  }
  get phase(): AgentPhase {
    return this.#phase;
  }
  get addresses(): AgentAddresses {
    return { metrics: this.#servers.metrics?.served.address, health: this.#servers.health?.served.address };
  }

  /** Starts everything. @throws AgentError in one sentence when something cannot start; then nothing runs. */
  async start(): Promise<void> {
    logDiagnostics(this.#options.log);
    this.#setLogLevel(this.#config);
    try {
      await this.#serveOwn(this.#config);
      await this.engine.apply(this.#config, identityOf(this.#config, this.#options));
    } catch (error) {
      await this.#closeOwn();
      throw error;
    }
    this.#phase = 'running';
    this.#watching = configChanges({
      file: resolve(this.#options.file),
      first: this.#text,
      scheduler: asyncScheduler,
      asked$: this.#asked$,
    }).subscribe((change) => {
      // One after the other; a reload that fails is told and counted in `#reload`.
      this.#reloading = this.#reloading.then(() => this.#reload(change));
    });
    const { pipelines, file } = this.#config;
    this.#options.log.info({ file, pipelines: pipelines.map((p) => p.id), ...this.addresses }, 'Running.');
  }

  /** Reads the config again (SIGHUP). @returns whether it was taken; why not is in the log. */
  async reload(): Promise<boolean> {
    if (this.#phase !== 'running') return false;
    const result = firstValueFrom(this.#results$, { defaultValue: false });
    this.#asked$.next();
    return result;
  }

  /** Drains and stops within `service.shutdown_timeout`, or at once when `signal` aborts. */
  async stop(signal?: AbortSignal): Promise<void> {
    if (this.#phase === 'stopping') return;
    this.#phase = 'stopping';
    this.#watching?.unsubscribe();
    this.#results$.complete();
    const deadline = deadlineAfter({ clock: this.#clock }, this.#config.service.shutdown_timeout);
    const both = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
    await this.#reloading;
    await this.engine.stop(both);
    deadline.cancel();
    await this.#closeOwn();
    await this.telemetry.stop();
  }

  async #reload(change: ConfigChange): Promise<void> {
    const { log } = this.#options;
    if (this.#phase !== 'running') return;
    try {
      if ('error' in change) throw unreadable(this.#options.file, change.error);
      const config = await checked(change.text, this.#options);
      await this.#serveOwn(config);
      const { replaced, kept } = await this.engine.apply(config, identityOf(config, this.#options));
      this.#setLogLevel(config);
      this.#config = config;
      this.#reloads.success = 1;
      this.#reloads.atMs = this.#clock.nowMs();
      this.#reloads.hash = hashNumber(config.hash);
      this.#reloadCount.success.value++;
      log.info({ replaced, kept }, 'The new config runs.');
      if (change.asked) this.#results$.next(true);
    } catch (error) {
      await this.#serveOwn(this.#config).catch((e) => log.error({ error: messageOf(e) }, 'Own endpoints are off.'));
      const problems = error instanceof ConfigError ? { problems: error.problems.map(problemText) } : {};
      log.error({ error: messageOf(error), ...problems }, 'The new config is not taken; what ran before runs on.');
      this.#reloads.success = 0;
      this.#reloadCount.failure.value++;
      if (change.asked) this.#results$.next(false);
    }
  }

  async #serveOwn({ service }: AgentConfig): Promise<void> {
    const { address, level } = service.telemetry.metrics;
    await this.#serve('metrics', level === 'none' ? undefined : address, 'the metrics of the agent', {
      '/metrics': async () => ({
        status: 200,
        type: 'text/plain; version=0.0.4; charset=utf-8',
        body: await this.telemetry.text(),
      }),
    });
    this.telemetry.observeProcess(level);
    const pages = healthPages({
      clock: this.#clock,
      version: this.#options.version,
      phase: () => this.#phase,
      reports: () => this.engine.reports(),
      describe: () => this.engine.describe(),
    });
    await this.#serve('health', service.health.address, 'health', pages);
  }

  /** Serves at a new address before the old one is let go. */
  async #serve(
    name: 'metrics' | 'health',
    address: string | undefined,
    what: string,
    pages: Parameters<typeof serve>[2],
  ) {
    const old = this.#servers[name];
    if (old?.at === address) return;
    const served = address === undefined ? undefined : await serve(address, what, pages);
    if (served && address !== undefined) this.#servers[name] = { at: address, served };
    else delete this.#servers[name];
    await old?.served.close();
  }

  async #closeOwn(): Promise<void> {
    const { metrics, health } = this.#servers;
    this.#servers = {};
    await Promise.all([metrics?.served.close(), health?.served.close()]);
  }

  #setLogLevel(config: AgentConfig): void {
    const level = this.#options.logLevel ?? config.service.telemetry.logs.level;
    const { log } = this.#options;
    if (log.level === 'silent' || log.level === level || !(level in levels.values)) return;
    log.level = level;
    this.engine.setLogLevel(level);
  }
}

async function checked(text: string, options: AgentOptions): Promise<AgentConfig> {
  const { file, registry, log } = options;
  const result = await readConfig(text, { file, registry, env: options.env ?? process.env });
  if (!result.ok) throw new ConfigError(file, result.problems);
  for (const problem of result.problems) log.warn(problemText(problem));
  return result.config;
}

function identityOf({ service }: AgentConfig, { env = process.env }: AgentOptions): NodeIdentity {
  return { name: service.node_name || env['NODE_NAME'] || hostname() };
}

function hashNumber(hash: string): number {
  return Number.parseInt(hash.slice(0, 12), 16);
}
