// How this tab looks at things. All of it is in the URL, so that pasting it gives a colleague the
// same view; language and theme are remembered beside it.
import { text, word, type Key, type Language } from "./words";
import type { Level, Words } from "./types";

export const PAGES = ["watch", "cases", "devices", "handover", "reports", "wall"] as const;
export type Page = (typeof PAGES)[number];
export type Theme = "dark" | "light";

const PATHS: Record<Page, string> = {
  watch: "/",
  cases: "/cases",
  devices: "/devices",
  handover: "/handover",
  reports: "/reports",
  wall: "/wall",
};

class View {
  page = $state<Page>("watch");
  language = $state<Language>("zh");
  theme = $state<Theme>("dark");
  /** Filters of the page at hand, by name. */
  filters = $state<Record<string, string>>({});
  /** What is selected: an incident's number, a case's, a device's id. */
  selected = $state<string>("");
  /** Longitude, latitude and zoom of the map. */
  at = $state<string>("");
  readonly zh = $derived(this.language === "zh");

  constructor() {
    this.read();
    addEventListener("popstate", () => this.read());
  }

  word(key: Key): string {
    return word(key, this.language);
  }

  text(words: Words | null | undefined): string {
    return text(words, this.language);
  }

  filter(name: string): string {
    return this.filters[name] ?? "";
  }

  setFilter(name: string, value: string): void {
    const { [name]: _, ...rest } = this.filters;
    this.filters = value ? { ...rest, [name]: value } : rest;
  }

  get level(): Level | 0 {
    return Number(this.filter("level")) as Level | 0;
  }

  go(page: Page, selected = "", filters: Record<string, string> = {}): void {
    this.page = page;
    this.selected = selected;
    this.filters = filters;
    history.pushState(null, "", this.url());
  }

  href(page: Page): string {
    return `${PATHS[page]}?lang=${this.language}&theme=${this.theme}`;
  }

  /** Write the view into the URL; called by one effect. */
  write(): void {
    const url = this.url();
    if (url !== location.pathname + location.search) history.replaceState(null, "", url);
    document.documentElement.lang = this.zh ? "zh-CN" : "en";
    document.documentElement.dataset.theme = this.theme;
    remember("language", this.language);
    remember("theme", this.theme);
  }

  private url(): string {
    const query = new URLSearchParams(this.filters);
    if (this.selected) query.set("sel", this.selected);
    if (this.at) query.set("at", this.at);
    query.set("lang", this.language);
    query.set("theme", this.theme);
    return `${PATHS[this.page]}?${query}`;
  }

  private read(): void {
    const query = new URLSearchParams(location.search);
    const found = PAGES.find((page) => page !== "watch" && location.pathname === PATHS[page]);
    this.page = found ?? "watch";
    this.language = pick(query.get("lang") ?? recall("language"), ["zh", "en"], browserLanguage());
    this.theme = pick(query.get("theme") ?? recall("theme"), ["dark", "light"], "dark");
    this.selected = query.get("sel") ?? "";
    this.at = query.get("at") ?? "";
    for (const name of ["lang", "theme", "sel", "at"]) query.delete(name);
    this.filters = Object.fromEntries(query);
  }
}

function browserLanguage(): Language {
  return navigator.language.startsWith("zh") ? "zh" : "en";
}

function pick<T extends string>(given: string | null, known: readonly T[], otherwise: T): T {
  return known.find((value) => value === given) ?? otherwise;
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`cityhub.${name}`, value);
  } catch {
    // a browser that keeps nothing: the URL still does
  }
}

function recall(name: string): string | null {
  try {
    return localStorage.getItem(`cityhub.${name}`);
  } catch {
    return null;
  }
}

export const view = new View();
