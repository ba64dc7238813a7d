import { describe, expect, test } from "vitest";
import { partsOf, plainOf } from "../src/ui/coded";

describe("a text of the service", () => {
  test("has code between backticks", () => {
    expect(partsOf("Read `f1` or `split.kind` `column`.")).toEqual([
      "Read ",
      "f1",
      " or ",
      "split.kind",
      " ",
      "column",
      ".",
    ]);
    expect(plainOf("Read `f1`.")).toBe("Read f1.");
  });

  test("is left as it is where a backtick has no partner", () => {
    for (const text of ["", "nothing", "a ` alone", "``", "one `\nline` each"])
      expect(partsOf(text)).toEqual([text]);
  });
});
