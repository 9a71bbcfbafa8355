// A flood of alarms at this seat: it begins above 10 new incidents in 10 minutes and ends below 5
// (ISA-18.2 as quoted).
import type { Incident } from "./types";

const SPAN_MS = 10 * 60_000;
const BEGINS = 10;
const ENDS = 5;

/** How many incidents opened within the last ten minutes. */
export function fresh(incidents: Iterable<Incident>, now: number): number {
  let count = 0;
  for (const row of incidents) if (now - Date.parse(row.opened_at) <= SPAN_MS) count += 1;
  return count;
}

/** Whether it is a flood, given whether it was one. */
export function floods(count: number, before: boolean): boolean {
  return before ? count >= ENDS : count > BEGINS;
}
