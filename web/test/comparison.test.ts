import { describe, expect, test } from "vitest";
import type { JobComparison } from "../src/api/types";
import {
  bandsOf,
  csvOf,
  differences,
  linesOf,
  percent,
  styleOf,
  stylesOf,
} from "../src/compare/curves";

const job = (id: string, differs: Record<string, unknown>) => ({
  id,
  name: null,
  status: "succeeded",
  outcome: "diverged",
  verdict: null,
  num_steps: 3,
  train_s: 1,
  differs,
  metrics: {},
});
const found = {
  jobs: [job("job_a", { "optimizer.lr": 1 }), job("job_b", { "optimizer.lr": 2, seed: 1 })],
  same: {},
  baseline: null,
  axis: "step",
  groups: [],
  curves: { x: [0, 1, 2], loss: { job_a: [3, "NaN", "Infinity"], job_b: [1, 0.5, null] } },
} as unknown as JobComparison;

describe("a comparison", () => {
  test("keeps values that are not finite, and leaves out places without a row", () => {
    const [a, b] = linesOf(found, "loss");
    expect([...a!.y]).toEqual([3, Number.NaN, Number.POSITIVE_INFINITY]);
    expect([...b!.x]).toEqual([0, 1]);
    expect([...b!.y]).toEqual([1, 0.5]);
    expect(linesOf(found, "eval.loss")).toEqual([]);
  });
  test("draws those of a band alike, and beside the bands the jobs that are in none", () => {
    const jobs = ["a", "b", "c", "d"].map((id) => job(`job_${id}`, {}));
    const band = { mid: [2, 1, 1], low: [1, 1, 1], high: [3, 2, 1] };
    const grouped = {
      ...{ ...found, jobs, groups: [{ jobs: ["job_b", "job_d"], band }] },
      curves: { x: [0, 1, 2], loss: Object.fromEntries(jobs.map(({ id }) => [id, [3, 2, 1]])) },
    } as unknown as JobComparison;
    const lines = bandsOf(grouped);
    expect(lines.map((line) => line.key)).toEqual([
      ...["job_b mid", "job_b low", "job_b high"],
      ...["job_a", "job_c"],
    ]);
    const styles = stylesOf(grouped, true);
    const of = (id: string) => JSON.stringify(styles.get(`job_${id}`));
    expect(of("b")).toBe(of("d"));
    expect(new Set(["a", "b", "c"].map(of)).size).toBe(3);
    expect(styles.get("job_b")!.colour).toBe(lines[0]!.colour);
    expect(new Set([...stylesOf(grouped, false).values()]).size).toBe(4);
  });
  test("lists every path in which a job differs, once", () => {
    expect(differences(found)).toEqual(["optimizer.lr", "seed"]);
  });
  test("writes a table of all places", () => {
    expect(csvOf(found, "loss")).toBe("step,job_a,job_b\n0,3,1\n1,NaN,0.5\n2,Infinity,\n");
  });
  test("draws no two of 32 jobs alike", () => {
    const styles = Array.from({ length: 32 }, (_, i) => JSON.stringify(styleOf(i)));
    expect(new Set(styles).size).toBe(32);
  });
  test.each([
    [0.5, -0.5, -50],
    [2, 1, 100],
    [-3, -1, -50],
    [1, 1, null],
    [Number.NaN, Number.NaN, null],
  ])("gives the change to %d by %d in per cent of the baseline", (value, change, expected) => {
    expect(percent(value, change)).toBe(expected);
  });
});
