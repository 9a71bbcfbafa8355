// The city's components as columns: 100,000 points are 600 kB here and 12.5 MB as GeoJSON.
//
// Little endian: "CHC1", count (uint32), west, south, east, north (float64, degrees), then count
// times x (uint16), y (uint16), then class (uint8), sub-class (uint8); x and y are shares of the box.
import { fromLonLat } from "ol/proj";
import { Refused } from "../act";

export interface Components {
  count: number;
  /** Web Mercator, metres. */
  xs: Float64Array;
  ys: Float64Array;
  classes: Uint8Array;
  extent: [number, number, number, number];
}

const MAGIC = 0x31434843; // "CHC1"
const HEAD_BYTES = 40;
const FULL = 65_535;

export async function loadComponents(): Promise<Components> {
  const answer = await fetch("/api/v1/components.bin");
  if (!answer.ok) {
    if (answer.status === 404) return decode(new ArrayBuffer(0));
    throw new Refused(await answer.json());
  }
  return decode(await answer.arrayBuffer());
}

export function decode(buffer: ArrayBuffer): Components {
  const empty: Components = {
    count: 0,
    xs: new Float64Array(0),
    ys: new Float64Array(0),
    classes: new Uint8Array(0),
    extent: [12_400_000, 4_470_000, 12_460_000, 4_480_000],
  };
  if (buffer.byteLength < HEAD_BYTES) return empty;
  const head = new DataView(buffer);
  if (head.getUint32(0, true) !== MAGIC) throw new Error("not a component file");
  const count = head.getUint32(4, true);
  const box = [8, 16, 24, 32].map((offset) => head.getFloat64(offset, true));
  const [west = 0, south = 0, east = 0, north = 0] = box;
  if (!count) return empty;
  const qx = new Uint16Array(buffer, HEAD_BYTES, count);
  const qy = new Uint16Array(buffer, HEAD_BYTES + 2 * count, count);
  const classes = new Uint8Array(buffer, HEAD_BYTES + 4 * count, count);
  const [x0 = 0, y0 = 0] = fromLonLat([west, south]);
  const [x1 = 0, y1 = 0] = fromLonLat([east, north]);
  // Mercator is not linear in latitude: 65,536 values are looked up rather than computed each time.
  const latitudes = new Float64Array(FULL + 1);
  for (let step = 0; step <= FULL; step += 1)
    latitudes[step] = fromLonLat([0, south + ((north - south) * step) / FULL])[1] ?? 0;
  const xs = new Float64Array(count);
  const ys = new Float64Array(count);
  for (let index = 0; index < count; index += 1) {
    xs[index] = x0 + ((x1 - x0) * (qx[index] as number)) / FULL;
    ys[index] = latitudes[qy[index] as number] as number;
  }
  return { count, xs, ys, classes, extent: [x0, y0, x1, y1] };
}
