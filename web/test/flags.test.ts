import { beforeEach, expect, test, vi } from "vitest";
import type { Job } from "../src/api/types";

beforeEach(() => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("navigator", { language: "en" });
  vi.stubGlobal("localStorage", { getItem: () => null });
});

const job = (findings: object[], more: object = {}): Job =>
  ({
    outcome: "diverged",
    latest: { step: 88, loss: "Infinity" },
    diagnosis: { verdict: "diverging", findings },
    interventions: [],
    ...more,
  }) as unknown as Job;
const finding = (rule: string, steps: number[] | null, status = "triggered") => ({
  ...{ rule, steps, status },
});

async function told(of: Job) {
  const { flagsOf } = await import("../src/jobs/flags");
  return flagsOf(of).map(({ from, to, label }) => [label, from, to]);
}

test("the rule that finds the divergence and the outcome are one mark, up to the end", async () => {
  for (const [steps, from] of [
    [[0, 87], 0],
    [[88, 88], 88],
    [[0, 88], 0],
  ] as const) {
    const found = await told(
      job([finding("diverged", [...steps]), finding("loss_growing", [0, 87])]),
    );
    expect(found).toEqual([
      ["Diverged", from, 88],
      ["Growing loss", 0, 87],
    ]);
  }
});

test("the outcome has a mark of its own where the rule names no steps, or is not there", async () => {
  for (const findings of [
    [],
    [finding("diverged", null)],
    [finding("diverged", [0, 87], "undetermined")],
  ]) {
    expect(await told(job(findings))).toEqual([["diverged", 88, 88]]);
  }
  expect(await told(job([], { outcome: "converged" }))).toEqual([]);
  expect(await told(job([], { latest: null }))).toEqual([]);
});
