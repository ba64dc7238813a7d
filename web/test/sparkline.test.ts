import type { VNode } from "preact";
import { beforeEach, expect, test, vi } from "vitest";

beforeEach(() => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
});

/** The path of a small curve, and how many gaps are marked on it. */
async function drawn(...values: number[]): Promise<{ path: string; numGaps: number }> {
  const { Sparkline } = await import("../src/charts/sparkline");
  const { children } = Sparkline({ y: Float64Array.from(values), label: "" }).props as {
    children: [VNode<{ d: string }>, VNode[]];
  };
  return { path: children[0].props.d, numGaps: children[1].length };
}

const HUGE = [1, 1e150, 1e300, 1.7e308, -1.7e308];
test.each([
  ["zeros among a wide span", [24, 1, 0.01, 0, 0, 1e-3, 0], 0],
  ["all the same", [0, 0, 0], 0],
  ["negative", [-5, 3, -1e9, 2], 0],
  ["of any size", [...HUGE.slice(0, 3), -1e300, 0.5], 0],
  ["beyond what can be drawn", HUGE, 2],
  ["what is not finite", [3, Number.NaN, Infinity, -Infinity, 1], 3],
  ["one point", [13], 0],
])("a curve of %s is drawn with numbers, and only what is not finite is a gap", async (_, y, n) => {
  const { path, numGaps } = await drawn(...y);
  expect(numGaps).toBe(n);
  expect(path).toMatch(/^M[\d.]+ [\d.]+/);
  expect(path).not.toMatch(/NaN|Infinity/);
  for (const [, top] of path.matchAll(/[ML][\d.-]+ ([\d.-]+)/g)) {
    expect(Number(top)).toBeGreaterThanOrEqual(0);
    expect(Number(top)).toBeLessThanOrEqual(26);
  }
});
