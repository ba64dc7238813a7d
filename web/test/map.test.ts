import { describe, expect, test } from "vitest";
import { scaleOf } from "../src/charts/scales";
import type { Configuration } from "../src/studies/dial";
import {
  basinsOf,
  cellOf,
  edgesOf,
  mapOf,
  minimumOf,
  neighbourOf,
  pairsOf,
  shadeOf,
} from "../src/studies/map";

const of = (lr: number, momentum: number, mean: number | null, diverged = 0): Configuration => ({
  configuration: 10 * lr + momentum,
  params: { "optimizer.lr": lr, "optimizer.momentum": momentum },
  num_runs: 1,
  num_diverged: diverged,
  mean,
  ci95: null,
  values: [],
});
const grid = [1, 2, 3].flatMap((lr) => [0, 4, 8].map((beta) => of(lr, beta, lr + beta)));
const pair = ["optimizer.lr", "optimizer.momentum"] as const;

describe("a map", () => {
  test("is drawn by two parameters whose values make a grid", () => {
    expect(pairsOf(grid, String)).toEqual([pair]);
    expect(pairsOf(grid.slice(0, 5), String)).toEqual([]); // two rates only
    const drawn = [1, 2, 3, 4, 5].map((lr) => of(lr, lr / 7, 1)); // as a random search has them
    expect(pairsOf(drawn, String)).toEqual([]);
  });
  test("keeps what has no value apart from what diverged", () => {
    const { xs, ys, places } = mapOf([of(2, 8, 5), of(1, 0, null, 1), of(1, 8, null)], pair);
    expect([xs, ys]).toEqual([
      [1, 2],
      [0, 8],
    ]);
    expect(places.map((place) => place.isLost)).toEqual([false, true, false]);
    expect(places.map((place) => place.value)).toEqual([5, Number.NaN, Number.NaN]);
  });
  test("has cells that reach halfway to the next one", () => {
    expect(edgesOf([0, 1, 3], scaleOf("linear"))).toEqual([-0.5, 0.5, 2, 4]);
    expect(edgesOf([1, 100], scaleOf("log"))).toEqual([-1, 1, 3]);
    expect([-1, -0.5, 0.4, 1, 3.9, 4].map((at) => cellOf([-0.5, 0.5, 2, 4], at))).toEqual([
      null,
      0,
      0,
      1,
      2,
      null,
    ]);
  });
  test("is gone about by arrows, past holes and not beyond its border", () => {
    const map = mapOf(
      grid.filter(({ configuration }) => configuration !== 24),
      pair,
    );
    const at = (configuration: number) =>
      map.places.find((place) => place.configuration === configuration)!;
    expect(neighbourOf(map, null, [1, 0])!.configuration).toBe(10);
    expect(neighbourOf(map, at(14), [1, 0])!.configuration).toBe(34);
    expect(neighbourOf(map, at(14), [0, 1])!.configuration).toBe(18);
    expect(neighbourOf(map, at(34), [1, 0])).toBeNull();
  });
  test("is darkest where it is best", () => {
    const { places } = mapOf([of(1, 0, 1), of(2, 0, 10), of(3, 0, 100), of(4, 0, null, 1)], pair);
    const least = shadeOf(places, "min");
    expect([1, 10, 100].map(least.share)).toEqual([0, 0.5, 1]);
    expect(least).toMatchObject({ best: 1, worst: 100, isLog: true });
    const most = shadeOf(mapOf([of(1, 0, 0), of(2, 0, 1)], pair).places, "max");
    expect([0, 1].map(most.share)).toEqual([1, 0]);
    expect(most).toMatchObject({ best: 1, worst: 0, isLog: false });
  });
});

describe("basins", () => {
  const found = {
    radius: [0.01, 0.1],
    minima: [
      { point: [3, 2], num_runs: 1 },
      { point: { x: -1, y: 0 }, num_runs: 2 },
    ],
  };
  const starts = ["problem.start[0]", "problem.start[1]"] as const;
  const ended = (configuration: number, solution: unknown) => ({
    configuration,
    result: solution === null ? null : { solution },
  });
  test("are those of the minimum that lies within the radius, the most reached one first", () => {
    const runs = [
      ended(0, [3.009, 2]),
      ended(1, { x: -1, y: 0.09 }),
      ended(2, [3.02, 2]),
      ended(3, null),
      ended(4, ["NaN", "Infinity"]),
    ];
    const { minima, of } = basinsOf(found, runs, starts)!;
    expect(minima).toEqual([
      [-1, 0],
      [3, 2],
    ]);
    expect([...of.values()]).toEqual([1, 0, null, null, null]);
  });
  test("are of starts in a plane only", () => {
    expect(basinsOf(found, [], pair)).toBeNull();
    expect(basinsOf(null, [], starts)).toBeNull();
    const line = { radius: [1], minima: [{ point: [1], num_runs: 1 }] };
    expect(basinsOf(line, [], starts)).toBeNull();
  });
  test("end halfway where two minima are near", () => {
    const minima = [[0], [1]];
    expect([0.2, 0.8, 3].map((x) => minimumOf(minima, [1], [x]))).toEqual([0, 1, null]);
  });
});
