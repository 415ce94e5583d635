import { type MetricsBatch, noResource, type Resource, type Snapshot } from '../../pipeline/batch.ts';
import { labelText } from './escape.ts';
import { type Layout, makeLayout, type Part, rowValue } from './layout.ts';
import type { Family } from './naming.ts';
import { makeTail, type ResourceLabels, type Tail } from './resource-labels.ts';

/**
 * One moment of everything that is exposed, arranged by family. Immutable: a scrape that takes long streams the moment it began
 * with, while newer batches make newer views.
 */
export interface View {
  readonly families: readonly ViewFamily[];
  /** Families that were left out because another metric has the same name and another type. */
  readonly typeConflicts: readonly string[];
  /** Series that were left out because a newer snapshot has the same name and labels. */
  readonly duplicates: number;
}

/** A family and all that feeds it; its samples must stand together. */
export interface ViewFamily {
  readonly family: Family;
  readonly parts: readonly ViewPart[];
}

/** One part of a layout over all snapshots of its schema. */
export interface ViewPart {
  readonly part: Part;
  readonly snapshots: readonly Snapshot[];
  /** Parallel to `snapshots`. */
  readonly tails: readonly Tail[];
  /** `row * snapshots.length + snapshot` of what must not be shown. */
  readonly skip: ReadonlySet<number> | undefined;
}

/** Snapshots that share a layout. */
interface Group {
  readonly layout: Layout;
  readonly snapshots: Snapshot[];
  readonly tails: Tail[];
  /** Filled where duplicates are found: skip sets parallel to `layout.parts`. */
  readonly skips: (Set<number> | undefined)[];
}

/** Where one snapshot stands. */
interface Place {
  readonly group: Group;
  readonly index: number;
}

/**
 * Arranges batches.
 *
 * @param layoutOf the cached layout of a snapshot's schema; undefined = this snapshot is not shown.
 */
export function makeView(
  batches: Iterable<MetricsBatch>,
  layoutOf: (snapshot: Snapshot) => Layout | undefined,
  resourceLabels: ResourceLabels,
  targetInfo: boolean,
): View {
  const groups = new Map<Layout, Group>();
  const byTail = new Map<string, Place[]>();
  const newest = new Map<string, { resource: Resource; tail: Tail; snapshot: Snapshot }>();
  for (const batch of batches) {
    for (const snapshot of batch.snapshots) {
      const layout = layoutOf(snapshot);
      if (layout === undefined) continue;
      let group = groups.get(layout);
      if (!group) {
        group = { layout, snapshots: [], tails: [], skips: [] };
        groups.set(layout, group);
      }
      const tail = resourceLabels.tail(snapshot.resource, batch.scope);
      const place = { group, index: group.snapshots.length };
      group.snapshots.push(snapshot);
      group.tails.push(tail);
      const places = byTail.get(tail.key);
      if (places) places.push(place);
      else byTail.set(tail.key, [place]);
      const known = newest.get(tail.key);
      if (!known || snapshot.startTimeMs > known.snapshot.startTimeMs) {
        newest.set(tail.key, { resource: snapshot.resource, tail, snapshot });
      }
    }
  }
  const duplicates = skipDuplicates(byTail.values());
  const info = targetInfo ? targetInfoGroup(newest.values(), resourceLabels) : undefined;
  return { ...arrange(info ? [...groups.values(), info] : groups.values()), duplicates };
}

/** Families by name, in the order of names, so that a scrape reads like the last one. */
function arrange(groups: Iterable<Group>): Pick<View, 'families' | 'typeConflicts'> {
  const byName = new Map<string, { family: Family; parts: ViewPart[] }>();
  const conflicts = new Set<string>();
  for (const { layout, snapshots, tails, skips } of groups) {
    layout.parts.forEach((part, i) => {
      let entry = byName.get(part.family.name);
      if (!entry) {
        entry = { family: part.family, parts: [] };
        byName.set(part.family.name, entry);
      }
      // The first one stays: the alternative (specification: "MUST drop entire metrics") would lose both.
      if (entry.family.type !== part.family.type) conflicts.add(part.family.name);
      else entry.parts.push({ part, snapshots, tails, skip: skips[i] });
    });
  }
  const families = [...byName.values()].sort((a, b) => (a.family.name < b.family.name ? -1 : 1));
  return { families, typeConflicts: [...conflicts] };
}

/**
 * Two snapshots whose resources have the same labels may hold the same series: a pod whose sandbox was replaced while the old network
 * namespace still lives, or two namespaces that no label tells apart. Prometheus refuses the second of two equal series, in
 * whatever order they come; here the youngest owner that has a value wins, and the others' values are counted.
 */
function skipDuplicates(tails: Iterable<Place[]>): number {
  // Which parts and rows collide depends on the layouts alone, and pods are alike.
  const cache = new Map<string, Contest[]>();
  let count = 0;
  for (const places of tails) {
    if (places.length < 2) continue;
    places.sort((a, b) => start(b) - start(a));
    const signature = places.map((p) => p.group.layout.id).join();
    let contests = cache.get(signature);
    if (!contests) {
      contests = findContests(places.map((p) => p.group.layout));
      cache.set(signature, contests);
    }
    for (const contest of contests) count += skipLosers(contest, places);
  }
  return count;
}

/** A row of a layout; `place` counts the layouts, youngest owner first. */
interface Claimant {
  readonly place: number;
  readonly part: number;
  readonly row: number;
}

/** Two or more rows with the same name and labels, youngest first. */
type Contest = readonly Claimant[];

/** Lets one row of a contest be shown; returns how many values are left out. */
function skipLosers(contest: Contest, places: readonly Place[]): number {
  let won = false;
  let lost = 0;
  for (const { place, part, row } of contest) {
    const { group, index } = places[place]!;
    // A row without a value is not shown anyway.
    if (Number.isNaN(rowValue(group.layout.parts[part]!.rows[row]!, group.snapshots[index]!.values))) continue;
    if (won) {
      group.skips[part] ??= new Set();
      group.skips[part].add(row * group.snapshots.length + index);
      lost++;
    }
    won = true;
  }
  return lost;
}

function start(place: Place): number {
  return place.group.snapshots[place.index]!.startTimeMs;
}

function findContests(layouts: readonly Layout[]): Contest[] {
  const byFamily = new Map<string, { place: number; part: number; rows: Part['rows'] }[]>();
  layouts.forEach((layout, place) => {
    layout.parts.forEach(({ family, rows }, part) => {
      const parts = byFamily.get(family.name);
      if (parts) parts.push({ place, part, rows });
      else byFamily.set(family.name, [{ place, part, rows }]);
    });
  });
  const out: Contest[] = [];
  for (const parts of byFamily.values()) {
    // Within one part no two rows are equal.
    if (parts.length < 2) continue;
    const byLabels = new Map<string, Claimant[]>();
    for (const { place, part, rows } of parts) {
      rows.forEach(({ labels }, row) => {
        const text = labelText(labels);
        const claimants = byLabels.get(text);
        if (claimants) claimants.push({ place, part, row });
        else byLabels.set(text, [{ place, part, row }]);
      });
    }
    for (const contest of byLabels.values()) if (contest.length > 1) out.push(contest);
  }
  return out;
}

const targetInfoFamily: Family = {
  name: 'target_info',
  type: 'gauge',
  help: 'What is known of each pod and of the node. Join on the labels that other series have too.',
  unit: '',
};
const bare = makeTail([]);
const one = new Float64Array([1]);

/** `target_info`: a row for each resource that can be told apart, all in one group with no labels of its own. */
function targetInfoGroup(
  resources: Iterable<{ resource: Resource; tail: Tail }>,
  labels: ResourceLabels,
): Group | undefined {
  const rows = Array.from(resources)
    .filter(({ resource }) => Object.keys(resource.attributes).length > 0)
    .map(({ resource, tail }) => labels.targetInfo(resource, tail));
  if (rows.length === 0) return undefined;
  const layout = makeLayout([{ family: targetInfoFamily, histogram: undefined, rows }]);
  const snapshot: Snapshot = {
    owner: undefined,
    resource: noResource,
    startTimeMs: 0,
    timeMs: 0,
    schema: { series: [], slots: 1 },
    values: one,
  };
  return { layout, snapshots: [snapshot], tails: [bare], skips: [] };
}
