import { describe, expect, test } from "vitest";
import { bytes, count, digitsFor, seconds, short, shown } from "../src/ui/numbers";

/** The number that a text stands for. */
const read = (text: string): number => Number(text.replaceAll("−", "-").replaceAll(",", ""));

/** Magnitudes of all sizes, with what lies just below each power of ten and of 60. */
const sizes = Array.from({ length: 41 }, (_, i) => 10 ** (i - 12)).flatMap((size) => [
  size,
  size * (1 - 1e-7),
  size * 0.99951,
  size * 1.2345678,
]);

describe("a duration", () => {
  const UNITS: Record<string, number> = { ms: 1e-3, s: 1, min: 60, h: 3600, d: 86_400 };
  const MOST: Record<string, number> = { ms: 999.5, s: 59.95, min: 59, h: 23, d: Infinity };
  const parts = (text: string): [number, string][] =>
    [...text.matchAll(/(\S+) ([a-z]+)/g)].map(([, n, unit]) => [Number(n), unit!]);
  const cases = [...sizes, ...[59.94, 59.96, 119.7, 3599.4, 3599.6, 86_369, 86_399, 90_000, 1e7]];
  test.each(cases)("of %s s has no unit that is full", (value) => {
    const found = parts(seconds(value));
    expect(found.length).toBeGreaterThan(0);
    for (const [n, unit] of found) expect(n, seconds(value)).toBeLessThanOrEqual(MOST[unit]!);
    const total = found.reduce((sum, [n, unit]) => sum + n * UNITS[unit]!, 0);
    const least = UNITS[found.at(-1)![1]]!;
    expect(Math.abs(total - value)).toBeLessThanOrEqual(Math.max(0.0051 * value, 0.51 * least));
  });
  test.each([
    [119.7, "2 min 0 s"],
    [3599.6, "1 h 0 min"],
    [90_061, "1 d 1 h"],
    [0.00042, "0.42 ms"],
    [0, "0 ms"],
  ])("of %s s is %s", (value, text) => expect(seconds(value)).toBe(text));
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [999_499, "999 kB"],
  [999_999, "1.00 MB"],
  [999_999_999, "1.00 GB"],
  [12_345_678, "12.3 MB"],
  [2.5e15, "2500 TB"],
])("%s bytes are %s", (size, text) => expect(bytes(size)).toBe(text));

describe("a measured value", () => {
  test.each(sizes.flatMap((size) => [size, -size]))("%s is told to four digits", (value) => {
    expect(Math.abs(read(short(value)) - value)).toBeLessThanOrEqual(0.00051 * Math.abs(value));
  });
  test.each([
    [1e-300, "1e−300"],
    [-1e300, "−1e300"],
    [-0, "0"],
    [12_345.678, "12346"],
    [0.001, "0.001"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "−∞"],
  ])("%s is %s", (value, text) => expect(short(value)).toBe(text));
});

test.each([0, 7, 12_345, 123_457, 1_234_567, 12_345_678_901, 2 ** 53 - 1, -987_654_321])(
  "a whole number, %s, is never rounded",
  (value) => {
    expect(read(shown(value))).toBe(value);
    expect(count(value).endsWith("M") || read(count(value)) === value).toBe(true);
  },
);

test("a value of a spec is told by its kind and its members", () => {
  expect(shown(9223372036854775807n)).toBe("9223372036854775807");
  expect(shown({ kind: "sgd", lr: 0.1 })).toBe("sgd, lr 0.1");
  expect(shown([{ kind: "lookahead", k: 5 }])).toBe("[lookahead, k 5]");
  expect(shown(null)).toBe("–");
});

test("values that differ are told in the digits in which they do", () => {
  const told = (values: unknown[]) => {
    const digits = digitsFor(values, shown);
    return values.map((value) => shown(value, digits));
  };
  expect(told([0.1, 0.1438449888287663])).toEqual(["0.1", "0.1438"]);
  expect(told([0.10001, 0.10002])).toEqual(["0.10001", "0.10002"]);
  expect(told([0.3, 0.1 + 0.2])).toEqual(["0.3", "0.30000000000000004"]);
  expect(told([0.5, 0.5, null])).toEqual(["0.5", "0.5", "–"]);
});
