// The order of the feed: unacknowledged first, then level, then newest. Rows never move under the
// pointer: while the list is held, new rows wait and those there stay where they are.
import { floods, fresh } from "./flood";
import { hub } from "./live/hub.svelte";
import { now } from "./now.svelte";
import { view } from "./view.svelte";
import type { Incident } from "./types";

/** A line of the feed: an incident, or in a flood a counted group of lesser ones. */
export type Line =
  | { kind: "incident"; key: string; incident: Incident }
  | { kind: "group"; key: string; level: number; title: string; count: number; unacked: number };

const MOST = 5_000;
const GROUPED_UP_TO = 2;

export class FeedList {
  /** Somebody reads: the pointer is over the list, it is scrolled, or something is selected. */
  hovered = $state(false);
  scrolled = $state(false);
  paused = $state(false);
  flood = $state(false);
  floodSince = $state(0);
  /** Groups that somebody opened. */
  unfolded = $state.raw<ReadonlySet<string>>(new Set());
  /** Incidents chosen for an action on all of them. */
  chosen = $state.raw<ReadonlySet<number>>(new Set());
  private order = $state.raw<number[]>([]);

  readonly held = $derived(this.hovered || this.scrolled || this.paused || view.selected !== "");
  readonly wanted = $derived.by(() => {
    const rows = [...hub.incidents.values()].filter((row) => row.state === "open" && matches(row));
    return rows.sort(byUrgency).slice(0, MOST).map((row) => row.incident_id);
  });
  readonly shown = $derived.by(() => {
    const rows: Incident[] = [];
    for (const id of this.order) {
      const row = hub.incidents.get(id);
      if (row && matches(row)) rows.push(row);
    }
    return rows;
  });
  readonly lines = $derived(this.flood ? this.folded(this.shown) : this.shown.map(lineOf));
  /** How many rows wait until the list is let go. */
  readonly waiting = $derived.by(() => {
    const there = new Set(this.order);
    return this.wanted.filter((id) => !there.has(id)).length;
  });
  readonly openCount = $derived(
    [...hub.incidents.values()].filter((row) => row.state === "open").length,
  );
  readonly recent = $derived(fresh(hub.incidents.values(), now.ms));

  /** Bring the order up to date, unless it is held; called by an effect. */
  settle(wanted: number[], held: boolean): void {
    if (!held || this.order.length === 0) this.order = wanted;
  }

  /** Let the waiting rows in. */
  release(): void {
    this.order = this.wanted;
  }

  judgeFlood(count: number, at: number): void {
    const flood = floods(count, this.flood);
    if (flood && !this.flood) this.floodSince = at;
    this.flood = flood;
  }

  unfold(key: string): void {
    const open = new Set(this.unfolded);
    if (!open.delete(key)) open.add(key);
    this.unfolded = open;
  }

  choose(id: number): void {
    const chosen = new Set(this.chosen);
    if (!chosen.delete(id)) chosen.add(id);
    this.chosen = chosen;
  }

  /** In a flood yellow and blue collapse to counted groups, by what they are and where. */
  private folded(rows: Incident[]): Line[] {
    const lines: Line[] = [];
    const groups = new Map<string, { line: Line & { kind: "group" }; rows: Incident[] }>();
    for (const row of rows) {
      if (row.severity > GROUPED_UP_TO) {
        lines.push(lineOf(row));
        continue;
      }
      const key = `${row.severity}/${row.lead?.rule_id ?? ""}`;
      let group = groups.get(key);
      if (!group) {
        const title = view.text(row.lead?.rule_label) || view.text(row.title);
        group = {
          line: { kind: "group", key, level: row.severity, title, count: 0, unacked: 0 },
          rows: [],
        };
        groups.set(key, group);
      }
      group.line.count += 1;
      group.line.unacked += row.unacked ? 1 : 0;
      group.rows.push(row);
    }
    for (const group of groups.values()) {
      lines.push(group.line);
      if (this.unfolded.has(group.line.key)) lines.push(...group.rows.map(lineOf));
    }
    return lines;
  }
}

export function isUnacked(row: Incident): boolean {
  return row.unacked > 0;
}

function lineOf(incident: Incident): Line {
  return { kind: "incident", key: `i${incident.incident_id}`, incident };
}

function byUrgency(a: Incident, b: Incident): number {
  return (
    Number(isUnacked(b)) - Number(isUnacked(a)) ||
    b.severity - a.severity ||
    b.incident_id - a.incident_id
  );
}

function matches(row: Incident): boolean {
  const { level, kind, dept, grid, audience, q } = view.filters;
  const lead = row.lead;
  if (level && row.severity !== Number(level)) return false;
  if (kind && lead?.device_kind !== kind) return false;
  if (audience && lead?.audience !== audience) return false;
  if (grid && !row.grid_codes.includes(grid)) return false;
  if (dept && view.text(row.dept_label) !== dept) return false;
  if (!q) return true;
  const wanted = q.toLowerCase();
  return [
    view.text(row.title),
    lead?.device_id,
    lead?.device_name,
    lead?.grid_name,
    row.case_no,
    ...row.grid_codes,
  ].some((word) => word?.toLowerCase().includes(wanted));
}
