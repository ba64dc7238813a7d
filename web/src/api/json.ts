/** JSON without a loss: whole numbers beyond 2^53 (seeds have up to 63 bits) are read as they are written, and
 * −0 is written as it is. */

/** Stands before the digits of such a number while it is a text; the service sends no control character. */
const MARK = "\u0001";
const MAY_BE_LARGE = /(?:^|[[:,\s])-?\d{16,}(?=$|[\s,\]}])/;
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

const isLarge = (token: string): boolean =>
  /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token));

/** Read a text. A whole number that is not exact as a number is a bigint. */
export function parse(text: string): unknown {
  if (!MAY_BE_LARGE.test(text)) return JSON.parse(text);
  const marked = text.replace(TOKENS, (token) => (isLarge(token) ? `"\\u0001${token}"` : token));
  return JSON.parse(marked, (_, value) =>
    typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(1)) : value,
  );
}

/** Write what `parse` has read. */
export function write(value: unknown, indent = 0): string {
  const mark = (_: string, each: unknown): unknown => {
    if (typeof each === "bigint") return MARK + String(each);
    return Object.is(each, -0) ? `${MARK}-0.0` : each;
  };
  return JSON.stringify(value, mark, indent).replaceAll(/"\\u0001(-?[\d.]+)"/g, "$1");
}
