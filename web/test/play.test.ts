import { describe, expect, test } from "vitest";
import {
  bandsOf,
  between,
  circleOf,
  directionsOf,
  type Field,
  gridOf,
  lengthOf,
  levelsOf,
  lineThrough,
  pickStep,
  shapeOf,
} from "../src/play/field";
import {
  choosing,
  jobOf,
  MENU,
  nameOf,
  numbered,
  PLACES,
  type Point,
  readOptimizer,
  setupOf,
  suited,
  variablesOf,
  writeOptimizer,
} from "../src/play/setup";

const bowl = ([x, y]: Point): number => x * x + 10 * y * y;
const fieldOf = (of: (point: Point) => number, count = 21): Field => ({
  values: Float64Array.from(gridOf([-1, 1, -1, 1], count), of),
  count,
  extents: [-1, 1, -1, 1],
});

describe("the contour", () => {
  test("has levels between its least and its largest value, each step larger than the last", () => {
    const { values } = fieldOf(bowl);
    const levels = levelsOf(values, 12);
    expect(levels).toHaveLength(11);
    const gaps = [0, ...levels, 11].map((level, i, all) => level - (all[i - 1] ?? 0)).slice(1);
    for (let i = 1; i < gaps.length; i++) expect(gaps[i]!).toBeGreaterThan(gaps[i - 1]!);
    expect(levels[0]!).toBeGreaterThan(0);
    expect(levels.at(-1)!).toBeLessThan(11);
  });
  test("has the same levels wherever its least value lies, and leaves out what is not finite", () => {
    const { values } = fieldOf(bowl);
    const lifted = levelsOf(
      Float64Array.from([...values, Number.NaN, Number.POSITIVE_INFINITY], (value) => value + 50),
      8,
    );
    levelsOf(values, 8).forEach((level, i) => {
      expect(lifted[i]! - 50).toBeCloseTo(level, 9);
    });
  });
  test("has none where the function is the same everywhere, or nowhere finite", () => {
    expect(levelsOf(new Float64Array(9).fill(3), 8)).toEqual([]);
    expect(levelsOf(new Float64Array(9).fill(Number.NaN), 8)).toEqual([]);
  });
  test("is exact between the points of its grid where the function is linear in each", () => {
    const field = fieldOf(([x, y]) => 3 * x - 2 * y + x * y);
    expect(between(field, 10.5, 3.25)).toBeCloseTo(3 * 0.05 + 2 * 0.675 - 0.05 * 0.675, 12);
    expect(between(field, 20, 20)).toBeCloseTo(2, 12);
  });
  test("stands upright: the first row of pixels is the largest second coordinate", () => {
    const field = fieldOf(([x, y]) => (x > 0.85 ? Number.NaN : y));
    const bands = bandsOf(field, [0], 8, 8);
    expect(bands[0]).toBe(1);
    expect(bands[7 * 8]).toBe(0);
    expect(bands[7]).toBe(-1);
  });
});

describe("the end of a path", () => {
  const turned = ([x, y]: Point): number => {
    const [u, v] = [(x + y) / Math.SQRT2, (x - y) / Math.SQRT2];
    return 5 * u * u - 2 * v * v + 7 * x; // a slope does not matter
  };
  test("has the directions of least and largest curvature", () => {
    const values = circleOf([0.3, -0.2], 0.01).map(turned);
    const found = directionsOf(values)!;
    expect(Math.abs(found.most[0] * found.most[1])).toBeCloseTo(0.5, 3);
    expect(found.most[0] * found.most[1]).toBeGreaterThan(0);
    expect(found.least[0] * found.least[1]).toBeLessThan(0);
    expect(directionsOf(values.map(() => Number.NaN))).toBeNull();
  });
  test("is a minimum, a maximum or a saddle by both curvatures, each beyond its bound", () => {
    const of = (low: number | string, high: number, bound = 1e-6) =>
      shapeOf({ value: low, bound }, { value: high, bound });
    expect(of(1, 2)).toBe("up");
    expect(of(-2, -1)).toBe("down");
    expect(of(-2, 3)).toBe("both");
    expect(of(1e-8, 3)).toBe("flat");
    expect(of(-1, 3, 2)).toBe("flat");
    expect(of("NaN", 3)).toBeNull();
  });
  test("is cut by a line that goes as far in both directions", () => {
    expect(lineThrough([1, 2], [0, 1], 3, 3)).toEqual([
      [1, -1],
      [1, 2],
      [1, 5],
    ]);
  });
});

describe("paths", () => {
  const paths = [
    { x: [0, 1, 2], y: [0, 0, 0] },
    { x: [0, 1, Number.NaN], y: [1, 1, 1] },
  ];
  const asIs = (point: Point): Point => point;
  test("the step nearest to the pointer is picked, if one is near", () => {
    expect(pickStep(paths, [1.1, 0.9], 0.5, asIs)).toEqual({ path: 1, step: 1 });
    expect(pickStep(paths, [2.1, 0.1], 0.5, asIs)).toEqual({ path: 0, step: 2 });
    expect(pickStep(paths, [5, 5], 0.5, asIs)).toBeNull();
  });
  test("their length leaves out what is not finite", () => {
    expect(lengthOf(paths[0]!)).toBe(2);
    expect(lengthOf(paths[1]!)).toBe(1);
  });
});

describe("the address", () => {
  const read = (text: string) => setupOf(new URLSearchParams(text));
  test("brings optimizers back as they were", () => {
    for (const name of Object.keys(MENU)) {
      const racer = suited(name, PLACES[0]!);
      expect(readOptimizer(writeOptimizer(racer))).toEqual(racer);
      expect(nameOf(racer)).toBe(name);
    }
  });
  test("has what is not in it, or makes no sense, as at first", () => {
    const first = read("");
    expect(read("f=nothing&s=1&w=3,1,0,1&n=1e9&s=NaN,1")).toEqual(first);
    expect(first.optimizers.map(nameOf)).toContain("momentum");
    expect(read("f=beale&s=1,2&n=30&job=a&job=b")).toMatchObject({
      start: [1, 2],
      steps: 30,
      jobs: ["a", "b"],
      place: { name: "beale" },
    });
  });
  test("an own formula names its coordinates in the start", () => {
    const own = read("e=x1**2%2Bx2**4&s=1,2&o=sgd,lr=0.5");
    expect(jobOf(own, own.optimizers[0]!)).toMatchObject({
      problem: { start: { x1: 1, x2: 2 }, function: { expression: "x1**2+x2**4" } },
      optimizer: { kind: "sgd", lr: 0.5 },
      precision: "float64",
    });
    for (const [formula, names] of [
      ["sin(x) * y", ["x", "y"]],
      ["b * a + pi", ["a", "b"]],
      ["x1 + y", ["x1", "y"]],
      ["x10**2 + x2", ["x2", "x10"]],
      ["2e3 * u + 1.5e-2*v + e", ["u", "v"]],
      ["max (x, 1)", ["x"]],
      ["where(x < y and y > 0, x, z_1)", ["x", "y", "z_1"]],
      ["", []],
    ] as const) {
      expect(variablesOf(formula), formula).toEqual(names);
    }
    const letters = read("e=a*b&s=1,2&o=sgd,lr=0.5");
    expect(jobOf(letters, letters.optimizers[0]!)).toMatchObject({
      problem: { start: { a: 1, b: 2 } },
    });
  });
  test("another function brings rates that suit it, and forgets the race", () => {
    const changes = choosing("rosenbrock", [
      { kind: "sgd", fields: { lr: 9, momentum: 0.5 } },
      { kind: "prodigy", fields: { lr: 1 } },
    ]);
    expect(changes).toMatchObject({ f: "rosenbrock", e: null, job: null, s: null });
    expect(changes.o).toEqual(["sgd,lr=0.001,momentum=0.5", "prodigy,lr=1"]);
  });
});

test("racers of one kind are told apart by their number", () => {
  expect(numbered(["Adam", "Momentum", "Adam"])).toEqual(["Adam 1", "Momentum", "Adam 2"]);
  expect(numbered(["Adam", "Momentum"])).toEqual(["Adam", "Momentum"]);
  expect(numbered([])).toEqual([]);
});
