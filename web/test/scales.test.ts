import { expect, test } from "vitest";
import {
  extentOf,
  linearTicks,
  padded,
  scaleOf,
  suggested,
  thresholdOf,
  ticks,
} from "../src/charts/scales";

const extent = (...values: number[]) => extentOf([Float64Array.from(values)]);

test("scales turn back what they do", () => {
  for (const scale of [scaleOf("linear"), scaleOf("log"), scaleOf("symlog", 1e-3)]) {
    for (const value of [1e-9, 0.5, 3, 1e12, 1e300]) {
      expect(scale.inverse(scale.forward(value)) / value).toBeCloseTo(1, 9);
    }
  }
  const symlog = scaleOf("symlog", 1e-6);
  expect(symlog.forward(0)).toBe(0);
  expect(symlog.forward(-2)).toBeCloseTo(-symlog.forward(2), 12);
  expect(symlog.forward(1e6) - symlog.forward(1e5)).toBeCloseTo(1, 6); // a decade is 1 high
});

test("the scale suits the values, whatever else is among them", () => {
  expect(suggested(extent(1, 2, 3))).toBe("linear");
  expect(suggested(extent(1e-8, 24, Number.NaN, Infinity))).toBe("log");
  expect(suggested(extent(-1, 2, 3))).toBe("linear");
  expect(suggested(extent(0, 0.1, 0.5, 280))).toBe("log"); // most lie at the bottom else
  expect(suggested(extent(0, 0.01, 0.9, 0.98))).toBe("linear"); // an accuracy
  expect(suggested(extent(0, 0, 0, 64))).toBe("linear"); // mostly zero
  expect(suggested(extent(-1e-3, 0, 1e9))).toBe("symlog");
  expect(suggested(extent(Number.NaN))).toBe("linear");
  expect(thresholdOf(extent(-1e-3, 0.5, 1e6))).toBe(1e-3);
  expect(thresholdOf(extent(1e-200, 2, 3, -4e5))).toBe(1e-3);
  expect(thresholdOf(extent(0))).toBe(1);
});

test("one value, none, and equal ones have a range to stand in", () => {
  for (const [low, high] of [
    [3, 3],
    [0, 0],
    [1e-12, 1e-12],
    [Infinity, -Infinity],
  ]) {
    const [from, to] = padded(low!, high!);
    expect(to).toBeGreaterThan(from);
  }
});

test("there are a few round ticks within any range", () => {
  for (const kind of ["linear", "log", "symlog"] as const) {
    for (const [low, high] of [
      [1e-9, 24],
      [0.9, 1.1],
      [1, 1e300],
      [1e-300, 9e304],
      [2.99, 64.5],
      [1e-300, 1e-290],
    ] as const) {
      const scale = scaleOf(kind, thresholdOf(extent(low, high)));
      const heights = padded(scale.forward(low), scale.forward(high));
      const found = ticks(scale, ...heights, 8);
      expect(found.length, `${kind} ${low} ${high}`).toBeGreaterThan(0);
      expect(found.length).toBeLessThan(30);
      for (const tick of found) {
        expect(Number.isFinite(scale.forward(tick))).toBe(true);
        expect(String(Math.abs(tick)).replace(/e.*$/, "").replace(".", "").length).toBeLessThan(14);
      }
    }
  }
});

test("an axis to the ends of what numbers can be has ticks, too", () => {
  for (const [low, high] of [
    [-6e298, -1],
    [-9e304, 9e304],
    [-1e-9, 1e300],
  ] as const) {
    const scale = scaleOf("symlog", thresholdOf(extent(low, -5, -40, high)));
    const heights = padded(scale.forward(low), scale.forward(high));
    const found = ticks(scale, ...heights, 8);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(30);
    expect(found.every(Number.isFinite)).toBe(true);
    expect(found).toEqual([...found].sort((a, b) => a - b));
  }
});

test("an axis has two ticks at least, however narrow it is", () => {
  for (const [low, high] of [
    [-5.25, 5.25],
    [0.9, 1.1],
    [0, 7],
    [-0.15, 1.05],
    [3, 1e9],
  ] as const) {
    for (const count of [1, 2, 3, 8]) {
      expect(linearTicks(low, high, count).length, `${low} ${high} ${count}`).toBeGreaterThan(1);
    }
  }
  const log = scaleOf("log");
  for (const [low, high] of [
    [0.045, 0.56],
    [2e-3, 1.5e-2],
    [1e-9, 1e9],
    [0.2, 5],
  ] as const) {
    for (const count of [2, 3, 8]) {
      const found = ticks(log, log.forward(low), log.forward(high), count);
      expect(found.length, `${low} ${high} ${count}`).toBeGreaterThan(1);
      for (const value of found) expect(value >= low && value <= high).toBe(true);
    }
  }
});

test("an axis of whole steps has no ticks between them", () => {
  expect(linearTicks(0, 4, 8, 1)).toEqual([0, 1, 2, 3, 4]);
  expect(linearTicks(-0.5, 0.5, 6, 1)).toEqual([0]);
  expect(linearTicks(0, 20_000, 5, 1)).toEqual([0, 5_000, 10_000, 15_000, 20_000]);
});
