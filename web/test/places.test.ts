import { expect, test } from "vitest";
import { lineOf, placesIn } from "../src/jobs/places";

const TEXT = `{
  "problem": {
    "kind": "function",
    "start": [
      1,
      "a \\"quoted\\" {brace}"
    ]
  }, "seed": 0,
  "optimizer": {"kind": "sgd", "lr": -1}
}`;

test("each field has its line", () => {
  const places = placesIn(TEXT);
  expect(lineOf(places, "problem.kind")).toBe(3);
  expect(lineOf(places, "problem.start.1")).toBe(6);
  expect(lineOf(places, "seed")).toBe(8);
  expect(lineOf(places, "optimizer.lr")).toBe(9);
});

test("a field that is missing is told at what is around it", () => {
  const places = placesIn(TEXT);
  expect(lineOf(places, "optimizer.momentum")).toBe(9);
  expect(lineOf(places, "budget.max_steps")).toBe(1);
});

test("what is no JSON is read as far as it is", () => {
  for (let end = 0; end <= TEXT.length; end++) {
    const places = placesIn(TEXT.slice(0, end));
    if (end > TEXT.indexOf('"function"')) expect(lineOf(places, "problem.kind")).toBe(3);
  }
  for (const text of ["", "{", "[1,,]", '{"a" 1}', "{]", '"\\', "nul"]) placesIn(text);
});

test("the lines are those of JSON.parse's values, for any JSON", () => {
  const value = { a: [1, { b: "x\ny", c: [] }, {}], "d e": null, f: { g: { h: -1.5e-3 } } };
  const text = JSON.stringify(value, null, 1);
  const lines = text.split("\n");
  const places = placesIn(text);
  expect(lines[lineOf(places, "a.1.b") - 1]).toContain('"b"');
  expect(lines[lineOf(places, "f.g.h") - 1]).toContain('"h"');
});
