// What this tab knows of the hub, reactive. Rows are replaced whole, never changed in place.
import type { Case, DevicePoint, Incident, Meta, Moved, Vitals } from "../types";
import { connect, type Connection } from "./connect";
import type { Link, News } from "./session";

class Hub {
  meta = $state.raw<Meta>();
  vitals = $state.raw<Vitals>();
  link = $state.raw<Link>({ state: "starting", heard: 0, resets: 0 });
  /** Open incidents, and those that ended since the page was opened, until the feed lets them go. */
  incidents = $state.raw<ReadonlyMap<number, Incident>>(new Map());
  cases = $state.raw<ReadonlyMap<string, Case>>(new Map());
  devices = $state.raw<ReadonlyMap<string, DevicePoint>>(new Map());
  /** Milliseconds from COMMIT to this tab, of the last stretch. */
  delay = $state(0);
  /** Raised by each stretch, for whatever fetched a thing and may fetch it anew. */
  cursor = $state(0);

  private connection: Connection | undefined;
  private readonly movers = new Set<(moved: Moved[]) => void>();

  start(): void {
    this.connection = connect((news) => this.hear(news));
  }

  again(): void {
    this.connection?.again();
  }

  /** Positions go past the reactive state: they come by the thousand each second. */
  onMoved(listener: (moved: Moved[]) => void): () => void {
    this.movers.add(listener);
    return () => this.movers.delete(listener);
  }

  private hear(news: News): void {
    switch (news.kind) {
      case "state":
        this.meta = news.meta;
        this.incidents = new Map(news.incidents.map((row) => [row.incident_id, row]));
        this.cases = new Map(news.cases.map((row) => [row.case_no, row]));
        this.devices = new Map(news.devices.map((row) => [row.device_id, row]));
        break;
      case "rows": {
        if (news.incidents.length) {
          const incidents = new Map(this.incidents);
          for (const row of news.incidents) incidents.set(row.incident_id, row);
          this.incidents = incidents;
        }
        if (news.cases.length) {
          const cases = new Map(this.cases);
          for (const row of news.cases) cases.set(row.case_no, row);
          this.cases = cases;
        }
        this.delay = Math.max(0, Date.now() - Date.parse(news.at));
        this.cursor = news.cursor;
        break;
      }
      case "vitals":
        this.vitals = news.vitals;
        break;
      case "moved":
        for (const listener of this.movers) listener(news.moved);
        break;
      case "link":
        this.link = news.link;
        break;
    }
  }
}

export const hub = new Hub();
