// Tables as files: CSV with a byte-order mark, so that a spreadsheet reads Chinese.

/** Offer rows as a CSV file (RFC 4180). */
export function saveCsv(name: string, rows: readonly (readonly (string | number | null)[])[]): void {
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function cell(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  // A cell that begins like a formula would be run by a spreadsheet.
  const safe = /^[=+@\t\r]|^-[^\d.]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
