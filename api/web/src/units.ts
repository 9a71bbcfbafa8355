// UCUM codes as people write them.
const SIGNS: Record<string, [zh: string, en: string]> = {
  "1": ["", ""],
  deg: ["°", "°"],
  Cel: ["℃", "°C"],
  "%": ["%", "%"],
  m: ["m", "m"],
  mm: ["mm", "mm"],
  cm: ["cm", "cm"],
  "mm/h": ["mm/h", "mm/h"],
  "m/s": ["m/s", "m/s"],
  "km/h": ["km/h", "km/h"],
  "m[g]": ["mg", "mg"],
  "[g]": ["g", "g"],
  V: ["V", "V"],
  mV: ["mV", "mV"],
  A: ["A", "A"],
  mA: ["mA", "mA"],
  W: ["W", "W"],
  "kW.h": ["kWh", "kWh"],
  lx: ["lx", "lx"],
  dBm: ["dBm", "dBm"],
  "dB[mW]": ["dBm", "dBm"],
  s: ["秒", "s"],
  min: ["分", "min"],
  h: ["小时", "h"],
  "%{LEL}": ["%LEL", "% LEL"],
  "[ppm]": ["ppm", "ppm"],
  "m3/s": ["m³/s", "m³/s"],
};

/** The sign of a unit; a code that is not here is shown as it is. */
export function unit(code: string, zh: boolean): string {
  const sign = SIGNS[code];
  return sign ? sign[zh ? 0 : 1] : code;
}

/** A value with its unit. */
export function amount(value: number | null | undefined, code: string, zh: boolean, digits = 2): string {
  if (value == null) return "–";
  const sign = unit(code, zh);
  const shown = Number(value.toFixed(digits)).toString();
  return sign === "°" || sign === "%" || sign === "" ? shown + sign : `${shown} ${sign}`;
}
