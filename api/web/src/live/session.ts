// One stream of the hub for all tabs of a browser: a snapshot, then what changes.
//
// It keeps the whole state, so that a tab that opens later starts at once. A row is replaced only by
// one that was read at the same or a later entry of the log, so what comes twice does no harm.
import type { Case, DevicePoint, Incident, Meta, Moved, Snapshot, Touched, Vitals } from "../types";

/** What a tab is told. */
export type News =
  | { kind: "state"; meta: Meta; incidents: Incident[]; cases: Case[]; devices: DevicePoint[] }
  | { kind: "rows"; incidents: Incident[]; cases: Case[]; at: string; cursor: number }
  | { kind: "vitals"; vitals: Vitals }
  | { kind: "moved"; moved: Moved[] }
  | { kind: "link"; link: Link };

/** How the connection stands. */
export interface Link {
  /** `live`: heard within five seconds; `stale`: nothing heard; `down`: no connection; `login`: the
   * session is over. */
  state: "starting" | "live" | "stale" | "down" | "login";
  /** When anything was heard last, milliseconds since 1970; 0: never. */
  heard: number;
  /** How often the state was fetched anew because the log could not go on. */
  resets: number;
}

const STALE_MS = 5_000;
const RETRY_MS = [500, 1_000, 2_000, 5_000];

export class Session {
  private meta: Meta | undefined;
  private readonly incidents = new Map<number, Incident>();
  private readonly cases = new Map<string, Case>();
  private readonly devices = new Map<string, DevicePoint>();
  private readonly readAt = new Map<string, number>();
  private readonly listeners = new Set<(news: News) => void>();
  private vitals: Vitals | undefined;
  private link: Link = { state: "starting", heard: 0, resets: 0 };
  private source: EventSource | undefined;
  private tries = 0;
  private started = false;

  /** Tell a listener everything there is, then what changes; returns how to stop. */
  join(listener: (news: News) => void): () => void {
    this.listeners.add(listener);
    if (this.meta) listener(this.whole(this.meta));
    if (this.vitals) listener({ kind: "vitals", vitals: this.vitals });
    listener({ kind: "link", link: this.link });
    if (!this.started) {
      this.started = true;
      void this.begin();
      setInterval(() => this.watch(), 1_000);
    }
    return () => this.listeners.delete(listener);
  }

  /** Begin anew: after a login, or when the log cannot go on from where we are. */
  async begin(): Promise<void> {
    this.source?.close();
    let answer: Response;
    try {
      answer = await fetch("/api/v1/snapshot", { headers: { Accept: "application/json" } });
    } catch {
      this.later();
      return;
    }
    if (answer.status === 401 || answer.status === 403) {
      this.setLink("login");
      return;
    }
    if (!answer.ok) {
      this.later();
      return;
    }
    this.take((await answer.json()) as Snapshot);
  }

  private later(): void {
    this.setLink("down");
    const wait = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)] ?? 5_000;
    setTimeout(() => void this.begin(), wait);
  }

  private take(snapshot: Snapshot): void {
    this.tries = 0;
    this.meta = snapshot.meta;
    this.incidents.clear();
    this.cases.clear();
    this.devices.clear();
    this.readAt.clear();
    for (const row of snapshot.incidents) this.incidents.set(row.incident_id, row);
    for (const row of snapshot.cases) this.cases.set(row.case_no, row);
    for (const row of snapshot.devices) this.devices.set(row.device_id, row);
    this.tell(this.whole(snapshot.meta));
    this.heard();
    this.follow(snapshot.cursor);
  }

  private follow(cursor: number): void {
    this.source?.close();
    const source = new EventSource(`/api/v1/stream?cursor=${cursor}`);
    this.source = source;
    const on = (name: string, act: (data: unknown) => void): void =>
      source.addEventListener(name, (event) => {
        this.heard();
        act(JSON.parse((event as MessageEvent<string>).data));
      });
    on("hello", () => undefined);
    on("rows", (data) => this.merge(data as Touched));
    on("stats", (data) => {
      this.vitals = data as Vitals;
      this.tell({ kind: "vitals", vitals: this.vitals });
    });
    on("pos", (data) => this.move(data as Moved[]));
    on("reset", () => {
      this.link = { ...this.link, resets: this.link.resets + 1 };
      void this.begin();
    });
    source.onerror = () => {
      if (this.source !== source) return;
      this.setLink("down");
      // The browser comes back by itself with the last id it has; where it gave up, we begin anew.
      if (source.readyState === EventSource.CLOSED) this.later();
    };
  }

  private merge(touched: Touched): void {
    const incidents = touched.incidents.filter((row) =>
      this.newer(`i${row.incident_id}`, touched.cursor),
    );
    const cases = touched.cases.filter((row) => this.newer(`c${row.case_no}`, touched.cursor));
    for (const row of incidents) {
      if (row.state === "closed") this.incidents.delete(row.incident_id);
      else this.incidents.set(row.incident_id, row);
    }
    for (const row of cases) this.cases.set(row.case_no, row);
    if (incidents.length || cases.length)
      this.tell({ kind: "rows", incidents, cases, at: touched.at, cursor: touched.cursor });
  }

  private newer(key: string, cursor: number): boolean {
    if ((this.readAt.get(key) ?? 0) > cursor) return false;
    this.readAt.set(key, cursor);
    return true;
  }

  private move(moved: Moved[]): void {
    for (const [id, lon, lat] of moved) {
      const device = this.devices.get(id);
      if (device) this.devices.set(id, { ...device, lon, lat });
    }
    this.tell({ kind: "moved", moved });
  }

  private heard(): void {
    this.link = { ...this.link, heard: Date.now() };
    if (this.link.state !== "live") this.setLink("live");
  }

  private watch(): void {
    if (this.link.state === "live" && Date.now() - this.link.heard > STALE_MS) this.setLink("stale");
  }

  private setLink(state: Link["state"]): void {
    this.link = { ...this.link, state };
    this.tell({ kind: "link", link: this.link });
  }

  private whole(meta: Meta): News {
    return {
      kind: "state",
      meta,
      incidents: [...this.incidents.values()],
      cases: [...this.cases.values()],
      devices: [...this.devices.values()],
    };
  }

  private tell(news: News): void {
    for (const listener of this.listeners) listener(news);
  }
}
