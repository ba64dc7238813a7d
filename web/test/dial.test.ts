import { describe, expect, test } from "vitest";
import {
  axesOf,
  type Configuration,
  dialOf,
  flat,
  groupsOf,
  nameOf,
  partsOf,
  stretches,
  wordsFor,
} from "../src/studies/dial";
import { shown } from "../src/ui/numbers";

const of = (lr: number, mean: number | string, diverged = 0): Configuration => ({
  configuration: lr,
  params: { optimizer: { kind: "sgd", lr } },
  num_runs: 2,
  num_diverged: diverged,
  mean,
  ci95: null,
  values: [],
});

const RATE = "optimizer.lr";

describe("the dial", () => {
  const found = [
    of(0.001, 2.2),
    of(0.01, 1.4),
    of(0.1, 0.1),
    of(1, 0.12),
    of(10, 1.9),
    of(100, "NaN", 2),
  ];
  test("has the zones from crawling to diverging in the order of the parameter", () => {
    const zones = dialOf([...found].reverse(), "optimizer.lr", "min").map((dot) => dot.zone);
    expect(zones).toEqual(["crawl", "crawl", "good", "good", "edge", "diverge"]);
  });
  test("takes the largest for the best where that is the goal", () => {
    const dots = dialOf([of(0.1, 0.2), of(1, 0.9), of(10, 0.5)], "optimizer.lr", "max");
    expect(dots.map((dot) => dot.zone)).toEqual(["crawl", "good", "edge"]);
  });
  test("calls nothing good where every run diverged", () => {
    const dots = dialOf([of(1, "Infinity", 2), of(2, "NaN", 2)], "optimizer.lr", "min");
    expect(dots.map((dot) => dot.zone)).toEqual(["diverge", "diverge"]);
    expect(dots.every((dot) => Number.isNaN(dot.y))).toBe(true);
  });
  test("says of what was stopped, or lost in part, neither that it diverged nor where it lies", () => {
    const stopped = { ...of(0.001, null as never), stopped: { step: 100 } };
    const partly = { ...of(5, null as never, 1), num_runs: 3 };
    const dots = dialOf(
      [stopped, of(0.01, 1.4), of(0.1, 0.1), partly, of(9, "NaN", 2)],
      RATE,
      "min",
    );
    expect(dots.map((dot) => dot.zone)).toEqual([null, "crawl", "good", null, "diverge"]);
    expect(dots.map((dot) => [dot.isStopped, dot.lost])).toEqual([
      [true, ""],
      [false, ""],
      [false, ""],
      [false, "1 / 3"],
      [false, "2 / 2"],
    ]);
    const parts = stretches(dots, (a, b) => (a + b) / 2).map((each) => each.zone);
    expect(parts).toEqual([null, "crawl", "good", null, "diverge"]);
  });
  test("joins neighbours of one zone, from halfway to halfway", () => {
    const dots = dialOf(found, "optimizer.lr", "min");
    const halfway = (a: number, b: number): number => Math.sqrt(a * b);
    const parts = stretches(dots, halfway);
    expect(parts.map((each) => each.zone)).toEqual(["crawl", "good", "edge", "diverge"]);
    expect(parts[1]!.from).toBeCloseTo(Math.sqrt(0.001));
    expect(parts[0]!.from).toBe(0.001);
    expect(parts[3]!.to).toBe(100);
  });
  test("can have numbers only for an axis, the rate first", () => {
    const two = (lr: number, size: number): Configuration => ({
      ...of(lr, 1),
      params: { batch_size: size, "optimizer.lr": lr, "optimizer.kind": "sgd" },
    });
    expect(axesOf([two(1, 8), two(2, 16)])).toEqual(["optimizer.lr", "batch_size"]);
    expect(axesOf([two(1, 8), two(1, 8)])).toEqual([]);
  });
  test("has only configurations that differ in nothing else", () => {
    const kind = (name: string, lr: number): Configuration => ({
      ...of(lr, 1),
      params: { optimizer: { kind: name, lr } },
    });
    const groups = groupsOf(
      [
        kind("adam", 1),
        kind("sgd", 1),
        kind("sgd", 2),
        kind("sgd", 3),
        kind("adam", 2),
        kind("x", 1),
      ],
      ["optimizer.lr"],
      String,
    );
    expect([...groups].map(([name, group]) => [name, group.length])).toEqual([
      ["sgd", 3],
      ["adam", 2],
    ]);
  });
  test("takes the coordinates of a start apart", () => {
    const start = (...at: number[]): Configuration => ({
      ...of(1, 1),
      params: { "problem.start": at },
    });
    const starts = [start(0, 1), start(0, 2), start(3, 1)];
    expect(axesOf(starts)).toEqual(["problem.start[0]", "problem.start[1]"]);
    const groups = groupsOf(starts, ["problem.start[0]"], String);
    expect([...groups.keys()]).toEqual(["start[1] 1"]);
    expect(axesOf([start(0, 1, 2), start(1, 1, 2)])).toEqual([]);
    expect(partsOf({ betas: ["a", 1] })).toEqual({ betas: ["a", 1] });
  });
  test("names a configuration by the last parts of its paths", () => {
    expect(flat({ optimizer: { kind: "sgd", lr: 1 }, "a.b": [1] })).toEqual({
      "optimizer.kind": "sgd",
      "optimizer.lr": 1,
      "a.b": [1],
    });
    expect(nameOf({ optimizer: { kind: "sgd", lr: 1 } }, String)).toBe("sgd, lr 1");
  });
});

describe("the name of a configuration", () => {
  test.each([
    [{ optimizer: { kind: "sgd", lr: 0.1, momentum: 0.9 } }, "sgd, lr 0.1, momentum 0.9"],
    [{ "optimizer.kind": "adam", "optimizer.lr": 0.01 }, "adam, lr 0.01"],
    [{ optimizer: { kind: "sgd" }, schedule: { kind: "cosine" } }, "sgd, cosine"],
    [{ "problem.data.seed": 1, seed: 2 }, "data.seed 1, seed 2"],
    [{ "optimizer.wrap": [{ kind: "lookahead", k: 5 }] }, "wrap [lookahead, k 5]"],
  ])("of %o is %s", (params, name) => expect(nameOf(params, shown)).toBe(name));
  test("tells it from every other one", () => {
    const all = [0.10001, 0.10002, 0.2].map((lr) => ({ params: { "optimizer.lr": lr } }));
    const words = wordsFor(all);
    expect(all.map(({ params }) => nameOf(params, words))).toEqual([
      "lr 0.10001",
      "lr 0.10002",
      "lr 0.2",
    ]);
  });
});
