// Figures as people write them: percent, a length of time, a number; a dash where there is none.
import { span } from "./time";
import type { Figure } from "./types";

export function amount(unit: string, value: number | null, zh: boolean): string {
  if (value === null) return "–";
  if (unit === "share") return `${(value * 100).toFixed(2)}%`;
  if (unit === "s") return span(value * 1000, zh);
  return String(Number(value.toFixed(2)));
}

/** 911 / 972; of a length of time how many were measured. */
export function fraction(figure: Figure): string {
  return figure.numerator === null ? `n = ${figure.denominator}` : `${figure.numerator} / ${figure.denominator}`;
}
