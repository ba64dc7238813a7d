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
  test("have no names where the first line is a row like the others", () => {
    expect(rowsOf("5.1,,1.4\n6.7,3,5.2")).toEqual([
      [5.1, null, 1.4],
      [6.7, 3, 5.2],
    ]);
    expect(rowsOf("red,3\nblue,4")).toEqual([
      ["red", 3],
      ["blue", 4],
    ]);
    expect(rowsOf("0,1,kind\n5,6,7")).toEqual([{ 0: 5, 1: 6, kind: 7 }]);
  });
  test("keep cells that are empty at either end, and what is no number as it is", () => {
    expect(rowsOf("\t2\t\n3\t4\t5")).toEqual([
      [null, 2, null],
      [3, 4, 5],
    ]);
    expect(rowsOf("0x1F,0b1,1.5e3,.5,-7,Infinity")).toEqual([
      ["0x1F", "0b1", 1500, 0.5, -7, "Infinity"],
    ]);
    expect(rowsOf("9007199254740993,1")).toEqual([[9007199254740993n, 1]]);
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
