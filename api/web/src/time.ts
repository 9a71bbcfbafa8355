// Times as staff read them: in the city's zone, with seconds, an age beside and never instead.

let zone = "Asia/Shanghai";
let clock: Intl.DateTimeFormat;
let date: Intl.DateTimeFormat;

export function setZone(name: string): void {
  zone = name;
  clock = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  date = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
  });
}
setZone(zone);

export function zoneName(): string {
  return zone;
}

/** 18:05:27 */
export function time(at: string | number | null | undefined): string {
  return at == null ? "–" : clock.format(new Date(at));
}

/** 2026-11-21 */
export function day(at: string | number | null | undefined): string {
  return at == null ? "–" : date.format(new Date(at));
}

/** 2026-11-21 18:05:27, or the time alone where it is today. */
export function stamp(at: string | null | undefined, now: number = Date.now()): string {
  if (at == null) return "–";
  return day(at) === day(now) ? time(at) : `${day(at)} ${time(at)}`;
}

/** The length of a time in the two largest fitting units. */
export function span(ms: number, zh: boolean): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return zh ? `${seconds} 秒` : `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return zh ? `${minutes} 分` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return zh ? `${hours} 小时 ${minutes % 60} 分` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return zh ? `${days} 天 ${hours % 24} 小时` : `${days} d ${hours % 24} h`;
}
