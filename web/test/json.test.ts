import { describe, expect, test } from "vitest";
import { parse, write } from "../src/api/json";

const WHOLE = ["9007199254740993", "9223372036854775807", "-9007199254740993"];

describe("JSON", () => {
  test.each([...WHOLE, "-0.0", "1e-300", "0.1", "5", "1.7976931348623157e+308"])(
    "%s is written as it was read, at any depth",
    (number) => {
      for (const text of [number, `{"seed": ${number}}`, `[[1, ${number}],\n{"a": ${number} }]`]) {
        const again = write(parse(text));
        expect(again).toBe(text.replaceAll(/(?<=[:,{])\s+|\s+(?=})/g, ""));
      }
    },
  );

  test("what is exact as a number is one, and digits in texts and fractions are let be", () => {
    const text = '{"a": 9007199254740991, "b": " 9007199254740993 ", "c": 0.12345678901234567}';
    expect(parse(text)).toEqual(JSON.parse(text));
    expect(parse(text.replace("991", "993"))).toEqual({
      ...JSON.parse(text),
      a: 9007199254740993n,
    });
  });
});
