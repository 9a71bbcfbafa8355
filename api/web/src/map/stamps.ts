// Device glyphs as pixel offsets: a square for what stands, a ring for vehicles, a small ring for
// workers. Stamping pixels costs a tenth of stroking rings.

export interface Stamps {
  /** By glyph: x and y offsets in turn. */
  masks: readonly Int8Array[];
  /** How far a glyph reaches from its middle. */
  rim: number;
}

let made: Stamps | undefined;
let madeFor = 0;

export function stamps(ratio: number): Stamps {
  if (made && madeFor === ratio) return made;
  madeFor = ratio;
  made = { masks: [square(Math.round(1.4 * ratio)), ring(3.4, ratio), ring(2, ratio)], rim: Math.ceil(6 * ratio) };
  return made;
}

function square(half: number): Int8Array {
  const offsets: number[] = [];
  for (let y = -half; y <= half; y += 1) for (let x = -half; x <= half; x += 1) offsets.push(x, y);
  return Int8Array.from(offsets);
}

function ring(radius: number, ratio: number): Int8Array {
  const offsets: number[] = [];
  const reach = Math.ceil(radius * ratio + 1);
  for (let y = -reach; y <= reach; y += 1)
    for (let x = -reach; x <= reach; x += 1)
      if (Math.abs(Math.hypot(x, y) - radius * ratio) < 0.62 * ratio) offsets.push(x, y);
  return Int8Array.from(offsets);
}
