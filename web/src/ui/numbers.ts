/** Numbers, sizes and durations as text, the same in every language. */

const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });

/** A count or a place of an axis: 12,000; 1.5M from a million on, where that says all. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return short(value);
  const size = Math.abs(value);
  if (size >= 1e6 && value % 1e5 === 0) return minus(`${plain.format(value / 1e6)}M`);
  if (size >= 1e9) return short(value);
  return minus(plain.format(Number(value.toPrecision(9))));
}

const minus = (text: string): string => text.replace("-", "−");

/** A measured value in at most `digits` digits: 0.00123, 1.2e-7, NaN, ∞. */
export function short(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e6)
      ? value
          .toExponential(digits - 1)
          .replace(/\.?0+e/, "e")
          .replace("e+", "e")
      : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−").replace("e-", "e−");
}

/** A value of the API: a number, a word for one that is not finite, a list. */
export function shown(value: unknown): string {
  if (typeof value === "number") return short(value);
  if (value === "Infinity") return "∞";
  if (value === "-Infinity") return "−∞";
  if (Array.isArray(value))
    return `[${value.slice(0, 8).map(shown).join(", ")}${value.length > 8 ? ", …" : ""}]`;
  if (value === null || value === undefined) return "–";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export function bytes(size: number | null | undefined, digits = 3): string {
  if (size === null || size === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let left = size;
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1000;
    unit++;
  }
  return `${unit === 0 ? left : left.toPrecision(digits)} ${units[unit]}`;
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${Number(value.toPrecision(3))} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  if (value < 86_400) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  return `${Number((value / 86_400).toPrecision(3))} d`;
}

/** A number of the API, where what is not finite is a word; null where there is none. */
export function asNumber(value: unknown): number | null {
  if (value === null || value === undefined) return null;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
  return Number(value);
}
