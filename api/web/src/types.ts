// The shapes of the API, by name. `api.d.ts` is made from the OpenAPI document by `npm run types`.
import type { components } from "./api";

type Shapes = components["schemas"];

export type Words = Shapes["Words"];
export type Alarm = Shapes["Alarm"];
export type Incident = Shapes["Incident"];
export type OneIncident = Shapes["OneIncident"];
export type Case = Shapes["Case"];
export type OneCase = Shapes["OneCase"];
export type Entry = Shapes["Event"];
export type Meta = Shapes["Meta"];
export type Metric = Shapes["MetricShape"];
export type Kind = Shapes["Kind"];
export type Department = Shapes["Department"];
export type Evaluation = Shapes["Evaluation"];
export type Figure = Shapes["Figure"];
export type AlarmHealth = Shapes["AlarmHealth"];
export type Device = Shapes["Device"];
export type OneDevice = Shapes["OneDevice"];
export type DevicePoint = Shapes["DevicePoint"];
export type Snapshot = Shapes["Snapshot"];
export type Latest = Shapes["Latest"];
export type RawReadings = Shapes["RawReadings"];
export type RolledReadings = Shapes["RolledReadings"];

/** A severity: 4 red, 3 orange, 2 yellow, 1 blue. */
export type Level = 1 | 2 | 3 | 4;

/** What came after a stretch of the event log: the rows it touched, as they stand. */
export interface Touched {
  cursor: number;
  at: string;
  incidents: Incident[];
  alarms: Alarm[];
  cases: Case[];
}

/** The figures of the strip, once a second. */
export interface Vitals {
  at: string;
  unacked: Record<string, number>;
  open: Record<string, number>;
  accepted: number;
  filed: number;
  closed: number;
  overdue: number;
  known: number;
  online: number;
}

/** Where a moving device is: id, longitude, latitude. */
export type Moved = [string, number, number];

/** An error of the API (RFC 9457), in both languages. */
export interface Problem {
  type: string;
  title: string;
  title_zh: string;
  status: number;
  detail: string;
  detail_zh: string;
  by?: string | null;
  at?: string | null;
}
