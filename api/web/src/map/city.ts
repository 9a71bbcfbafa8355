// The city on a canvas: OpenLayers as chassis, grid cells and roads as vectors, and one own layer
// that writes components and devices straight into pixels and draws incidents over them, the worst
// on top. No WebGL: a desktop without a graphics card has none.
import "ol/ol.css";
import Map from "ol/Map";
import View from "ol/View";
import { defaults as defaultControls } from "ol/control/defaults";
import ScaleLine from "ol/control/ScaleLine";
import GeoJSON from "ol/format/GeoJSON";
import Layer from "ol/layer/Layer";
import VectorLayer from "ol/layer/Vector";
import { fromLonLat, toLonLat } from "ol/proj";
import VectorSource from "ol/source/Vector";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import Text from "ol/style/Text";
import type { FrameState } from "ol/Map";
import { ask } from "../act";
import { view as look, type Theme } from "../view.svelte";
import { loadComponents, type Components } from "./components";
import { PALETTES } from "./palette";
import { stamps, type Stamps } from "./stamps";
import type { DevicePoint, Incident, Moved } from "../types";

/** What can be shown and hidden. */
export type LayerName = "cells" | "roads" | "components" | "devices" | "vehicles" | "workers";

export interface CityMap {
  setTheme(theme: Theme): void;
  setIncidents(incidents: Incident[]): void;
  setDevices(devices: ReadonlyMap<string, DevicePoint>): void;
  move(moved: Moved[]): void;
  select(incident: number): void;
  flyTo(lon: number, lat: number): void;
  show(layer: LayerName, shown: boolean): void;
  whole(): void;
  zoom(by: number): void;
  close(): void;
  /** For measurements: frames drawn since the start. */
  frames(): number;
}

const FIT = [24, 24, 24, 24];
const NEAR_RESOLUTION = 3; // metres a pixel; below, names and single movers are shown
const MOVING_RESOLUTION = 4; // above, movers would be noise
const HIT_PIXELS = 12;
const FLY_MS = 250;

export async function openMap(target: HTMLElement): Promise<CityMap> {
  const [cells, base, components] = await Promise.all([
    ask<object>("/api/v1/grid-cells"),
    ask<object>("/api/v1/base-map").catch(() => ({ type: "FeatureCollection", features: [] })),
    loadComponents(),
  ]);
  return new Canvas(target, cells, base, components);
}

interface Mark {
  id: number;
  x: number;
  y: number;
  level: number;
  fresh: boolean;
}

class Canvas implements CityMap {
  private readonly map: Map;
  private readonly points: Layer;
  private readonly cells: VectorLayer;
  private readonly base: VectorLayer;
  private readonly canvas = document.createElement("canvas");
  private readonly pen: CanvasRenderingContext2D;
  private pixels: ImageData | undefined;
  private words = new Uint32Array(0);
  private colours = PALETTES[look.theme];
  private marks: Mark[] = [];
  private selected = 0;
  private ids: string[] = [];
  private indexOf: globalThis.Map<string, number> = new globalThis.Map();
  private xs = new Float64Array(0);
  private ys = new Float64Array(0);
  private glyphs = new Uint8Array(0);
  private readonly shown = new Set<LayerName>([
    "cells",
    "roads",
    "components",
    "devices",
    "vehicles",
    "workers",
  ]);
  private drawn = 0;
  private readonly extent: [number, number, number, number];

  constructor(
    target: HTMLElement,
    cells: object,
    base: object,
    private readonly components: Components,
  ) {
    const pen = this.canvas.getContext("2d");
    if (!pen) throw new Error("no canvas");
    this.pen = pen;
    this.canvas.className = "points";
    const format = new GeoJSON({ featureProjection: "EPSG:3857" });
    const cellSource = new VectorSource({ features: format.readFeatures(cells) });
    this.cells = new VectorLayer({ source: cellSource, style: () => this.cellStyle() });
    this.base = new VectorLayer({
      source: new VectorSource({ features: format.readFeatures(base) }),
      renderBuffer: 200,
      declutter: true,
      style: (feature, resolution) =>
        this.baseStyle(feature.get("class") as string, feature.get("name") as string, resolution),
    });
    this.points = new Layer({ render: (frame) => (frame ? this.render(frame) : this.canvas) });
    this.map = new Map({
      target,
      controls: defaultControls({ attribution: false, zoom: false, rotate: false }).extend([
        new ScaleLine({ minWidth: 80 }),
      ]),
      layers: [this.base, this.cells, this.points],
      view: new View({ enableRotation: false, maxZoom: 20 }),
    });
    const whole = cellSource.isEmpty() ? components.extent : cellSource.getExtent();
    this.extent = [...(whole as [number, number, number, number])];
    this.start();
    this.map.on("singleclick", (event) => this.pick(event.pixel));
    this.map.on("pointermove", (event) => {
      if (!event.dragging) target.style.cursor = this.hit(event.pixel) ? "pointer" : "";
    });
    this.map.on("moveend", () => {
      const view = this.map.getView();
      const [lon, lat] = toLonLat(view.getCenter() ?? [0, 0]);
      if (lon !== undefined && lat !== undefined)
        look.at = `${lon.toFixed(5)},${lat.toFixed(5)},${(view.getZoom() ?? 0).toFixed(2)}`;
    });
  }

  private start(): void {
    const [lon, lat, zoom] = look.at.split(",").map(Number);
    if (lon && lat && zoom) {
      this.map.getView().setCenter(fromLonLat([lon, lat]));
      this.map.getView().setZoom(zoom);
    } else this.whole();
  }

  setTheme(theme: Theme): void {
    this.colours = PALETTES[theme];
    this.cells.changed();
    this.base.changed();
    this.points.changed();
  }

  setIncidents(incidents: Incident[]): void {
    this.marks = incidents
      .flatMap((row) => {
        const { lon, lat } = row.lead ?? {};
        if (lon == null || lat == null) return [];
        const [x = 0, y = 0] = fromLonLat([lon, lat]);
        return [{ id: row.incident_id, x, y, level: row.severity, fresh: row.unacked > 0 }];
      })
      .sort((a, b) => a.level - b.level || Number(a.fresh) - Number(b.fresh)); // the worst is drawn last
    this.points.changed();
  }

  setDevices(devices: ReadonlyMap<string, DevicePoint>): void {
    const placed = [...devices.values()].filter((one) => one.lon !== null && one.lat !== null);
    this.ids = placed.map((one) => one.device_id);
    this.indexOf = new globalThis.Map(this.ids.map((id, index) => [id, index]));
    this.xs = new Float64Array(placed.length);
    this.ys = new Float64Array(placed.length);
    this.glyphs = new Uint8Array(placed.length);
    placed.forEach((one, index) => {
      this.place(index, one.lon ?? 0, one.lat ?? 0);
      this.glyphs[index] =
        one.kind === "sanitation_vehicle" ? VEHICLE : one.kind === "sanitation_worker" ? WORKER : FIXED;
    });
    this.points.changed();
  }

  move(moved: Moved[]): void {
    for (const [id, lon, lat] of moved) {
      const index = this.indexOf.get(id);
      if (index !== undefined) this.place(index, lon, lat);
    }
    this.points.changed();
  }

  select(incident: number): void {
    this.selected = incident;
    const mark = this.marks.find((one) => one.id === incident);
    const view = this.map.getView();
    const seen = this.map.getSize() ? view.calculateExtent(this.map.getSize()) : undefined;
    if (mark && seen) {
      const [left = 0, bottom = 0, right = 0, top = 0] = seen;
      if (mark.x < left || mark.x > right || mark.y < bottom || mark.y > top)
        view.animate({ center: [mark.x, mark.y], duration: still() ? 0 : FLY_MS });
    }
    this.points.changed();
  }

  flyTo(lon: number, lat: number): void {
    const view = this.map.getView();
    const resolution = Math.min(view.getResolution() ?? NEAR_RESOLUTION, NEAR_RESOLUTION * 0.7);
    view.animate({ center: fromLonLat([lon, lat]), resolution, duration: still() ? 0 : FLY_MS });
  }

  show(layer: LayerName, shown: boolean): void {
    if (shown) this.shown.add(layer);
    else this.shown.delete(layer);
    this.cells.setVisible(this.shown.has("cells"));
    this.base.setVisible(this.shown.has("roads"));
    this.points.changed();
  }

  whole(): void {
    this.map.getView().fit(this.extent, { padding: FIT, duration: 0 });
  }

  zoom(by: number): void {
    const view = this.map.getView();
    view.animate({ zoom: (view.getZoom() ?? 12) + by, duration: still() ? 0 : 150 });
  }

  close(): void {
    this.map.setTarget();
    this.map.dispose();
  }

  frames(): number {
    return this.drawn;
  }

  private place(index: number, lon: number, lat: number): void {
    const [x = 0, y = 0] = fromLonLat([lon, lat]);
    this.xs[index] = x;
    this.ys[index] = y;
  }

  private pick(at: number[]): void {
    const id = this.hit(at);
    if (id) look.selected = String(id);
  }

  /** The incident under a pixel, the worst first; 0: none. */
  private hit(at: number[]): number {
    const [px = 0, py = 0] = at;
    for (let index = this.marks.length - 1; index >= 0; index -= 1) {
      const mark = this.marks[index];
      if (!mark) continue;
      const [x = -99, y = -99] = this.map.getPixelFromCoordinate([mark.x, mark.y]) ?? [];
      if (Math.hypot(x - px, y - py) <= HIT_PIXELS) return mark.id;
    }
    return 0;
  }

  private cellStyle(): Style {
    return new Style({ stroke: new Stroke({ color: this.colours.cell, width: 1 }) });
  }

  private baseStyle(kind: string, name: string | undefined, resolution: number): Style {
    const { roads, water, name: ink, ground } = this.colours;
    const rank = kind === "river" ? -1 : Math.min(2, Math.max(0, Number(kind.slice(-1)) - 1));
    const width = rank < 0 ? 14 : ([7, 4, 2][rank] ?? 2);
    const shrink = Math.min(1.6, Math.max(0.25, 8 / resolution));
    const style = new Style({
      zIndex: rank < 0 ? 0 : 3 - rank,
      stroke: new Stroke({ color: rank < 0 ? water : (roads[rank] ?? roads[2]), width: width * shrink }),
    });
    if (name && (rank < 1 || resolution < NEAR_RESOLUTION)) {
      style.setText(
        new Text({
          text: name,
          placement: "line",
          font: "12px sans-serif",
          fill: new Fill({ color: ink }),
          stroke: new Stroke({ color: ground, width: 3 }),
        }),
      );
    }
    return style;
  }

  private render(frame: FrameState): HTMLCanvasElement {
    this.drawn += 1;
    const ratio = frame.pixelRatio;
    const width = Math.round((frame.size[0] ?? 0) * ratio);
    const height = Math.round((frame.size[1] ?? 0) * ratio);
    const { canvas, pen } = this;
    if (canvas.width !== width || canvas.height !== height || !this.pixels) {
      canvas.width = width;
      canvas.height = height;
      canvas.style.width = "100%";
      canvas.style.height = "100%";
      canvas.style.position = "absolute";
      this.pixels = pen.createImageData(Math.max(1, width), Math.max(1, height));
      this.words = new Uint32Array(this.pixels.data.buffer);
    }
    this.words.fill(0);
    const t = frame.coordinateToPixelTransform;
    const [a = 1, , , d = 1, e = 0, f = 0] = t;
    const at = { kx: a * ratio, ky: d * ratio, tx: e * ratio, ty: f * ratio, width, height };
    const resolution = frame.viewState.resolution;
    if (this.shown.has("components")) this.dots(at, resolution, ratio);
    this.glyphsInto(at, resolution, ratio);
    pen.putImageData(this.pixels, 0, 0);
    this.signs(at, ratio);
    return canvas;
  }

  private dots(at: At, resolution: number, ratio: number): void {
    const { xs, ys, count } = this.components;
    const { kx, ky, tx, ty, width, height } = at;
    const size = Math.round((resolution > 6 ? 1 : resolution > 2.5 ? 1.5 : resolution > 1 ? 2.5 : 4) * ratio);
    const colour = this.colours.component;
    const words = this.words;
    for (let index = 0; index < count; index += 1) {
      const x = ((xs[index] as number) * kx + tx) | 0;
      const y = ((ys[index] as number) * ky + ty) | 0;
      if (x < 0 || y < 0 || x >= width - size || y >= height - size) continue;
      let offset = y * width + x;
      for (let row = 0; row < size; row += 1) {
        for (let column = 0; column < size; column += 1) words[offset + column] = colour;
        offset += width;
      }
    }
  }

  private glyphsInto(at: At, resolution: number, ratio: number): void {
    const { kx, ky, tx, ty, width, height } = at;
    const shapes: Stamps = stamps(ratio);
    const far = resolution > MOVING_RESOLUTION; // far away, movers would only be noise
    const show = [
      this.shown.has("devices"),
      this.shown.has("vehicles") && !far,
      this.shown.has("workers") && !far,
    ];
    const colour = this.colours.device;
    const words = this.words;
    const rim = shapes.rim;
    for (let index = 0; index < this.ids.length; index += 1) {
      const glyph = this.glyphs[index] ?? FIXED;
      if (!show[glyph]) continue;
      const x = ((this.xs[index] as number) * kx + tx) | 0;
      const y = ((this.ys[index] as number) * ky + ty) | 0;
      if (x < rim || y < rim || x >= width - rim || y >= height - rim) continue;
      const mask = shapes.masks[glyph];
      if (!mask) continue;
      for (let each = 0; each < mask.length; each += 2)
        words[(y + (mask[each + 1] as number)) * width + x + (mask[each] as number)] = colour;
    }
  }

  private signs(at: At, ratio: number): void {
    const { pen, colours } = this;
    const { kx, ky, tx, ty, width, height } = at;
    for (const mark of this.marks) {
      const x = mark.x * kx + tx;
      const y = mark.y * ky + ty;
      if (x < -24 || y < -24 || x > width + 24 || y > height + 24) continue;
      const size = (mark.level === 4 ? 9 : mark.level === 1 ? 5 : 8) * ratio;
      pen.beginPath();
      if (mark.level === 4) pen.rect(x - size * 0.8, y - size * 0.8, size * 1.6, size * 1.6);
      else if (mark.level === 3) {
        pen.moveTo(x, y - size);
        pen.lineTo(x + size, y);
        pen.lineTo(x, y + size);
        pen.lineTo(x - size, y);
        pen.closePath();
      } else if (mark.level === 2) {
        pen.moveTo(x, y - size);
        pen.lineTo(x + size, y + size * 0.75);
        pen.lineTo(x - size, y + size * 0.75);
        pen.closePath();
      } else pen.arc(x, y, size, 0, 2 * Math.PI);
      pen.lineWidth = 2 * ratio;
      if (mark.fresh) {
        pen.fillStyle = colours.levels[mark.level] ?? colours.ring;
        pen.strokeStyle = colours.ground;
        pen.fill();
      } else pen.strokeStyle = colours.levels[mark.level] ?? colours.ring;
      pen.stroke();
      if (mark.id === this.selected) {
        pen.strokeStyle = colours.ring;
        pen.lineWidth = 2.5 * ratio;
        pen.beginPath();
        pen.arc(x, y, 18 * ratio, 0, 2 * Math.PI);
        pen.stroke();
      }
    }
  }
}

interface At {
  kx: number;
  ky: number;
  tx: number;
  ty: number;
  width: number;
  height: number;
}

const FIXED = 0;
const VEHICLE = 1;
const WORKER = 2;

function still(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
