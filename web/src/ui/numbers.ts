/** Numbers, sizes and durations as text, the same in every language. */

const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });

/** A count or a place of an axis: 12,000; 1.5M from a million on, where that says all. */
export function count(value: number): string {
  if (!Number.isFinite(value)) return short(value);
  const size = Math.abs(value);
  if (size >= 1e6 && value % 1e5 === 0) return minus(`${plain.format(value / 1e6)}M`);
  if (Number.isSafeInteger(value)) return minus(plain.format(value));
  if (size >= 1e9) return short(value);
  return minus(plain.format(Number(value.toPrecision(9))));
}

const minus = (text: string): string => text.replace("-", "−");

/** A measured value in about `digits` digits, with all of its whole part below a million: 0.00123, 1.2e-7,
 * 12346, NaN, ∞. */
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
      : String(Number(value.toPrecision(Math.max(digits, String(Math.trunc(size)).length))));
  return text.replace("-", "−").replace("e-", "e−");
}

/** A value of the API: a number, a word for one that is not finite, a list, an object by its kind and its
 * members. Whole numbers are never rounded: a seed is another one where a digit is. */
export function shown(value: unknown, digits = 4): string {
  const inside = (each: unknown): string => shown(each, digits);
  if (typeof value === "bigint") return minus(String(value));
  if (typeof value === "number") {
    const text = short(value, digits);
    const isRounded = Number.isSafeInteger(value) && Number(text.replaceAll("−", "-")) !== value;
    return isRounded ? minus(String(value)) : text;
  }
  if (value === "Infinity") return "∞";
  if (value === "-Infinity") return "−∞";
  if (Array.isArray(value))
    return `[${value.slice(0, 8).map(inside).join(", ")}${value.length > 8 ? ", …" : ""}]`;
  if (value === null || value === undefined) return "–";
  if (typeof value === "object") return membersOf(Object.entries(value), inside);
  return String(value);
}

/** Names and values in words. A kind stands for itself: "sgd, lr 0.1". */
export const membersOf = (
  members: readonly (readonly [string, unknown])[],
  words: (value: unknown) => string,
): string =>
  members
    .map(([name, value]) => (name === "kind" ? words(value) : `${name} ${words(value)}`))
    .join(", ");

/** The digits in which values that differ are told apart by their words; 4 where any do. */
export function digitsFor<T>(
  values: readonly T[],
  words: (value: T, digits: number) => string,
): number {
  const apart = (digits: number): number =>
    new Set(values.map((value) => words(value, digits))).size;
  const most = apart(MOST_DIGITS);
  for (let digits = 4; digits < MOST_DIGITS; digits++) if (apart(digits) === most) return digits;
  return MOST_DIGITS;
}
const MOST_DIGITS = 17;

/** Words for the ticks of an axis, in the digits that tell one from the next. */
export function shortOf(values: readonly number[]): (value: number) => string {
  const digits = digitsFor(values, short);
  return (value) => short(value, digits);
}

export function bytes(size: number | null | undefined, digits = 3): string {
  if (size === null || size === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let left = size;
  while (Number(left.toPrecision(digits)) >= 1000 && unit < units.length - 1) {
    left /= 1000;
    unit++;
  }
  const isWhole = unit === 0 || left >= 10 ** digits;
  return `${isWhole ? Math.round(left) : left.toPrecision(digits)} ${units[unit]}`;
}

/** A duration. It is rounded before it is cut into units: 119.7 s is 2 min, never 1 min 60 s. */
export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const rounded = Number(value.toPrecision(3));
  if (rounded < 1) return `${Number((1000 * value).toPrecision(3))} ms`;
  if (rounded < 60) return `${rounded} s`;
  const s = Math.round(value);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  const min = Math.round(value / 60);
  if (min < 1440) return `${Math.floor(min / 60)} h ${min % 60} min`;
  const h = Math.round(value / 3600);
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** A number of the API, where what is not finite is a word; null where there is none. */
export function asNumber(value: unknown): number | null {
  if (value === null || value === undefined) return null;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
  return Number(value);
}
