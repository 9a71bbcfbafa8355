// Colours of the map by theme; the tokens of the page, as numbers for pixels.
import type { Theme } from "../view.svelte";

export interface Palette {
  ground: string;
  water: string;
  roads: readonly [main: string, side: string, lane: string];
  cell: string;
  name: string;
  component: number;
  device: number;
  ring: string;
  edge: string;
  levels: Record<number, string>;
}

/** #rrggbb as the pixel of a little-endian ImageData. */
function pixel(hex: string): number {
  const n = parseInt(hex.slice(1), 16);
  return ((255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
}

export const PALETTES: Record<Theme, Palette> = {
  dark: {
    ground: "#14181d",
    water: "#26394a",
    roads: ["#434c57", "#343c45", "#282e36"],
    cell: "rgba(255,255,255,0.07)",
    name: "#a9b3bd",
    component: pixel("#4e5863"),
    device: pixel("#9aa6b2"),
    ring: "#ffffff",
    edge: "#14181d",
    levels: { 4: "#ff6b6b", 3: "#ff9a4d", 2: "#f5c04a", 1: "#6cb4ee" },
  },
  light: {
    ground: "#dfe3e6",
    water: "#b9cddb",
    roads: ["#ffffff", "#f8f9fa", "#eff1f3"],
    cell: "rgba(0,0,0,0.10)",
    name: "#464f58",
    component: pixel("#9ea6ae"),
    device: pixel("#5d6771"),
    ring: "#1b2026",
    edge: "#7a3400",
    levels: { 4: "#b3161d", 3: "#d9731a", 2: "#f0b800", 1: "#155e94" },
  },
};
