import { describe, expect, test } from "vitest";
import { featuresOf, rowsOf } from "../src/jobs/pasted";

describe("pasted rows", () => {
  test("may be JSON: rows, objects, or one row alone", () => {
    expect(rowsOf("[[1, 2], [3, 4]]")).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(rowsOf(' [{"a": 1}] ')).toEqual([{ a: 1 }]);
    expect(rowsOf('{"a": 1}')).toEqual([{ a: 1 }]);
    expect(rowsOf("[1, null, 3]")).toEqual([[1, null, 3]]);
    expect(() => rowsOf("[1, 2")).toThrow(SyntaxError);
  });
  test.each([",", ";", "\t"])("may be a table with cells apart by %j", (sign) => {
    expect(rowsOf(`1${sign}-2e3\n${sign}4\r\n`)).toEqual([
      [1, -2000],
      [null, 4],
    ]);
  });
  test("have names where the first line is no numbers", () => {
    expect(rowsOf('size,"a ""big"", red color"\n1.5,red\n,blue')).toEqual([
      { size: 1.5, 'a "big", red color': "red" },
      { size: null, 'a "big", red color': "blue" },
    ]);
  });
  test("are refused with the line where the lines are uneven", () => {
    expect(() => rowsOf("1,2\n3")).toThrow("line 2: 1 cells, not 2");
  });
  test("are none of an empty text", () => {
    expect(rowsOf("\n")).toEqual([]);
  });
});

describe("features of a problem", () => {
  test("are the text itself for a model of language, and rows for others", () => {
    expect(featuresOf("language_model", "[1, 2] and\n")).toEqual(["[1, 2] and\n"]);
    expect(featuresOf("forecast", "1,2\n3,4")).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });
});
