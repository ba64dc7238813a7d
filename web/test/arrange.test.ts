import { expect, test } from "vitest";
import { arrange, countMarks, markOf, stepsOf } from "../src/charts/arrange";
import { scaleOf } from "../src/charts/scales";

const linear = scaleOf("linear");
const curve = (y: number[], x = y.map((_, i) => i)) => ({
  x: Float64Array.from(x),
  y: Float64Array.from(y),
});

test("what is not finite is a gap with a mark, never a line across", () => {
  const made = arrange([curve([1, NaN, 3, Infinity, 5, -Infinity, 1e306])], 0, 6, 100, linear);
  expect(made.ys[0]).toEqual([1, null, 3, null, 5, null, null]);
  expect(made.marks[0]).toEqual([
    { x: 1, kind: "nan" },
    { x: 3, kind: "high" },
    { x: 5, kind: "low" },
    { x: 6, kind: "high" },
  ]);
  expect([made.low, made.high]).toEqual([1, 5]);
});

test("a point between gaps is drawn by itself", () => {
  const made = arrange([curve([NaN, 2, NaN, 4, 5, NaN, 7])], 0, 6, 100, linear);
  expect(made.lone).toEqual([[1, 6]]);
  expect(arrange([curve([3])], 0, 1, 100, linear).lone).toEqual([[0]]);
});

test("a logarithmic axis marks what it has no place for", () => {
  const log = scaleOf("log");
  const made = arrange([curve([10, 0, -1, 100])], 0, 3, 100, log);
  expect(made.ys[0]).toEqual([1, null, null, 2]);
  expect(made.marks[0]!.map((mark) => mark.kind)).toEqual(["notPositive", "notPositive"]);
  expect(countMarks([curve([10, 0, -1, NaN])], log)).toEqual(
    new Map([
      ["notPositive", 2],
      ["nan", 1],
    ]),
  );
});

test("curves with rows at other places share one axis without gaps of each other's making", () => {
  const made = arrange([curve([1, 2, 3]), curve([9, 8], [0.5, 2])], 0, 2, 100, linear);
  expect(made.x).toEqual([0, 0.5, 1, 2]);
  expect(made.ys).toEqual([
    [1, undefined, 2, 3],
    [undefined, 9, undefined, 8],
  ]);
});

test("of more rows than pixels every extreme and every gap is kept", () => {
  const n = 200_000;
  const y = Array.from({ length: n }, (_, i) => Math.sin(i / 1000));
  y[77_777] = 50;
  y[123_456] = -40;
  y[150_000] = NaN;
  const made = arrange([curve(y)], 0, n - 1, 800, linear);
  expect(made.isExact).toBe(false);
  expect(made.x.length).toBeLessThan(4000);
  expect([made.low, made.high]).toEqual([-40, 50]);
  expect(made.marks[0]!.length).toBe(1);
  expect(made.ys[0]!.filter((value) => value === null).length).toBe(1);
  const all = made.ys[0]!.filter((value) => typeof value === "number");
  expect(all.every((value) => y.includes(value))).toBe(true);
});

test("least and largest of a pixel come in the order in which they were met", () => {
  const n = 9_000;
  const rising = arrange([curve(Array.from({ length: n }, (_, i) => i))], 0, n - 1, 10, linear);
  const numbers = rising.ys[0]!.filter((value): value is number => typeof value === "number");
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
});

test("a zoomed range takes one row beyond each edge, so that the line runs on", () => {
  const made = arrange([curve([0, 1, 2, 3, 4, 5])], 1.5, 3.5, 100, linear);
  expect(made.x).toEqual([1, 2, 3, 4]);
  expect([made.low, made.high]).toEqual([2, 3]);
});

test("ordinary values have no mark on any scale that has a place for them", () => {
  for (const kind of ["linear", "log", "symlog"] as const) {
    for (const value of [1e-300, 1, 1e300]) expect(markOf(value, scaleOf(kind))).toBe(null);
  }
  expect(markOf(0, scaleOf("symlog"))).toBe(null);
});

test("a line of steps holds each value until the next place", () => {
  const { x, y } = stepsOf([1, 2, 4], [0, 0.5, 1]);
  expect([...y]).toEqual([0, 0, 0.5, 0.5, 1]);
  expect([x[0], x[2], x[4]]).toEqual([1, 2, 4]);
  expect(x[1]).toBeLessThan(2);
  expect(x[1]).toBeCloseTo(2, 6);
});
