import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { pino } from 'pino';
import { systemClock } from '../pipeline/clock.ts';
import type {
  ComponentContext,
  ComponentDeclaration,
  ComponentRegistry,
  ComponentTelemetry,
  Finding,
} from '../pipeline/component.ts';
import { messageOf } from '../pipeline/errors.ts';
import { nothingRuns } from '../pipeline/service-view.ts';
import { type Command, type CommandIo, exitCodes } from './command.ts';

const kinds: readonly (keyof ComponentRegistry)[] = ['receivers', 'processors', 'exporters'];
const marks = { ok: 'ok', partial: 'part', off: 'off' } as const;

/** Where container runtimes listen (CRI endpoints of containerd, CRI-O, cri-dockerd, k3s; Docker's own). */
const runtimeSockets = [
  '/run/containerd/containerd.sock',
  '/run/crio/crio.sock',
  '/run/cri-dockerd.sock',
  '/run/k3s/containerd/containerd.sock',
  '/run/docker.sock',
] as const;

export const command: Command = {
  usage: '[--seconds N] [--json]',
  about: [
    'Looks at this machine: kernel, rights, libraries, container runtime; loads every probe, shows the hook it got and why',
    'not a better one, and measures for a few seconds what each costs. Leaves nothing behind. Run it as the agent runs.',
  ].join('\n'),
  options: {
    json: { type: 'boolean', help: 'As JSON, with all figures.' },
    seconds: { type: 'string', value: 'N', help: 'How long to measure (default: 3).' },
  },
  positionals: 0,
  examples: ['skoopline doctor', 'skoopline doctor --json | jq \'.[] | select(.status != "ok")\''],
  async run(args, io) {
    const seconds = Number(args.values['seconds'] ?? 3);
    if (!(seconds >= 0 && seconds <= 3600)) {
      io.err('skoopline doctor: --seconds takes a number from 0 to 3600.\n');
      return exitCodes.failed;
    }
    const findings = [runtimes(), ...(await componentFindings(io, seconds))];
    io.out(args.values['json'] === true ? `${JSON.stringify(findings, undefined, 2)}\n` : table(findings));
    return exitCodes.ok;
  },
};

function runtimes(): Finding {
  const found = runtimeSockets.filter((s) => existsSync(s));
  return {
    subject: 'container runtime',
    status: found.length > 0 ? 'ok' : 'partial',
    text: found.length > 0 ? found.join(', ') : 'no socket found: data is named by cgroup and namespace only',
    data: { sockets: found },
  };
}

async function componentFindings(io: CommandIo, seconds: number): Promise<Finding[]> {
  const out: Finding[] = [];
  for (const kind of kinds) {
    for (const [type, load] of Object.entries(io.registry[kind])) {
      try {
        const declaration: ComponentDeclaration = (await load()).default;
        if (!declaration.diagnose) continue;
        const config = declaration.config.parse({});
        out.push(...(await declaration.diagnose(config, contextOf(type, io), { seconds })));
      } catch (error) {
        out.push({ subject: type, status: 'off', text: messageOf(error) });
      }
    }
  }
  return out;
}

/** Doctor reports what components return; what they count while at it is of no interest. */
const silent: ComponentTelemetry = {
  rejected: () => {},
  dropped: () => {},
  absent: () => {},
  failed: () => {},
  recovered: () => {},
  counter: () => ({ add: () => {} }),
  gauge: () => {},
};

function contextOf(id: string, io: CommandIo): ComponentContext {
  return {
    id,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    telemetry: silent,
    node: { name: io.env['NODE_NAME'] ?? hostname() },
    service: nothingRuns,
    version: io.version,
  };
}

function table(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map((f) => f.subject.length));
  const lines = findings.flatMap((f) => [
    `${marks[f.status].padEnd(4)}  ${f.subject.padEnd(width)}  ${f.text}`,
    ...(f.notes ?? []).map((n) => `      ${''.padEnd(width)}  - ${n}`),
  ]);
  return `${lines.join('\n')}\n`;
}
