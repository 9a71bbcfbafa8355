// Single keys, which a person can switch off (WCAG 2.1.4). A page says what its keys do.
import { PAGES, view } from "./view.svelte";

export type Bindings = Record<string, () => void>;

const TYPING = new Set(["INPUT", "TEXTAREA", "SELECT"]);

class Keys {
  single = $state(true);
  private bindings: Bindings[] = [];
  private goes = false;

  /** Add what keys do until the returned function is called; the last added wins. */
  bind(bindings: Bindings): () => void {
    this.bindings.push(bindings);
    return () => {
      this.bindings = this.bindings.filter((one) => one !== bindings);
    };
  }

  /** Take a key pressed anywhere on the page. */
  press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    if (TYPING.has(target.tagName)) {
      if (event.key === "Escape") target.blur();
      return;
    }
    const moving = event.key.startsWith("Arrow") || event.key === "Escape" || event.key === "Enter";
    if (!this.single && !moving) return;
    // Space and Enter belong to a button that has the focus.
    if ((event.key === " " || event.key === "Enter") && /^(BUTTON|A)$/.test(target.tagName)) return;
    const key = event.key.length === 1 ? (event.shiftKey ? event.key : event.key.toLowerCase()) : event.key;
    if (this.goes) {
      this.goes = false;
      const page = PAGES[Number(key) - 1];
      if (page) {
        event.preventDefault();
        view.go(page);
      }
      return;
    }
    if (key === "g") {
      this.goes = true;
      setTimeout(() => (this.goes = false), 1_500);
      return;
    }
    for (const bindings of [...this.bindings].reverse()) {
      const does = bindings[key];
      if (does) {
        event.preventDefault();
        does();
        return;
      }
    }
  }
}

export const keys = new Keys();
