import { expect, test } from "vitest";
import { Columns, lowerBound, nearest, nearestRow } from "../src/charts/columns";

test("rows are added, and words for what is not finite become numbers", () => {
  const rows = new Columns("step");
  rows.append({ step: [0, 1], loss: [1, "NaN"], x: [[1], [2]] });
  rows.append({ step: [2, 3], loss: ["Infinity", "-Infinity"] });
  expect([...rows.get("loss")!]).toEqual([1, Number.NaN, Infinity, -Infinity]);
  expect(rows.names).toEqual(["step", "loss"]);
  expect(rows.end).toBe(3);
});

test("a resumed attempt repeats rows: the old ones go", () => {
  const rows = new Columns("step");
  rows.append({ step: [0, 10, 20, 30], loss: [4, 3, 2, 1] });
  rows.append({ step: [20, 30, 40], loss: [5, 6, 7] });
  expect([...rows.get("step")!]).toEqual([0, 10, 20, 30, 40]);
  expect([...rows.get("loss")!]).toEqual([4, 3, 5, 6, 7]);
});

test("a series that comes late or stays away is unknown, never 0", () => {
  const rows = new Columns("step");
  rows.append({ step: [0, 1], loss: [1, 2] });
  rows.append({ step: [2], lr: [0.1] });
  expect([...rows.get("lr")!]).toEqual([Number.NaN, Number.NaN, 0.1]);
  expect([...rows.get("loss")!]).toEqual([1, 2, Number.NaN]);
});

test("many appends keep every row", () => {
  const rows = new Columns("step");
  for (let i = 0; i < 5000; i += 7) {
    const step = Array.from({ length: 7 }, (_, k) => i + k);
    rows.append({ step, loss: step.map((k) => k / 2) });
  }
  const loss = rows.get("loss")!;
  expect(loss.length).toBe(rows.length);
  expect(loss.every((value, k) => value === k / 2)).toBe(true);
});

test("places in an ascending array are found", () => {
  expect([0, 1, 2, 2.5, 9].map((at) => lowerBound([1, 2, 3], at))).toEqual([0, 0, 1, 2, 3]);
  expect([-1, 1.4, 1.6, 9].map((at) => nearest([1, 2, 3], at))).toEqual([0, 0, 1, 2]);
});

test("the row that is read is the one closest to the cursor, of whatever line", () => {
  const line = (x: number[]) => ({ x: Float64Array.from(x) });
  const evaluation = line([0, 100, 200, 300, 400, 500]);
  const zoomed = line([168, 169, 170]);
  expect(nearestRow([zoomed, evaluation], 170)).toBe(170);
  expect(nearestRow([evaluation, zoomed], 169.4)).toBe(169);
  expect(nearestRow([evaluation, zoomed], 301)).toBe(300);
  expect(nearestRow([line([])], 7)).toBe(7);
});
