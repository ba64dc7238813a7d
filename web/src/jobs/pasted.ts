/** Rows as people paste them: JSON, or a table out of a file or a spreadsheet. */
import { parse } from "../api/json";

export type Row = unknown[] | Record<string, unknown>;

/** Read what is pasted as the rows of a problem: of a model of language it is one text, as it is. */
export function featuresOf(problem: string, text: string): (Row | string)[] {
  return problem === "language_model" ? [text] : rowsOf(text);
}

/** A line of a table that has more or fewer cells than its first one. */
export class UnevenRows extends SyntaxError {
  constructor(
    readonly line: number,
    readonly cells: number,
    readonly wanted: number,
  ) {
    super(`line ${line}: ${cells} cells, not ${wanted}`);
  }
}

/** Read rows from a text. A first line of texts, above what is none, names the columns.
 *
 * Raises `SyntaxError` where the text is neither JSON nor a table of equal lines.
 */
export function rowsOf(text: string): Row[] {
  const trimmed = text.trim();
  if (trimmed.startsWith("[") || trimmed.startsWith("{")) {
    const found: unknown = parse(trimmed);
    if (!Array.isArray(found)) return [found as Row];
    const isOneRow =
      found.length > 0 && found.every((cell) => cell === null || typeof cell !== "object");
    return isOneRow ? [found] : (found as Row[]);
  }
  // Not trimmed: the first cell, or the last one, of cells apart by tabs may be empty.
  const whole = text.replace(/^\uFEFF/, "");
  const separator = ["\t", ";", ","].find((each) => whole.includes(each)) ?? ",";
  const lines = whole.split(/\r?\n/).filter((line) => line.trim() !== "");
  const cells = lines.map((line) => cellsOf(line, separator));
  const [first, ...rest] = cells;
  if (!first) return [];
  const uneven = cells.findIndex((line) => line.length !== first.length);
  if (uneven > 0) {
    throw new UnevenRows(uneven + 1, cells[uneven]!.length, first.length);
  }
  if (!areNames(first, rest[0])) return cells.map((line) => line.map(cellValue));
  return rest.map((line) =>
    Object.fromEntries(line.map((cell, i) => [first[i]!, cellValue(cell)])),
  );
}

/** Whether a first line names the columns: it is all texts, or has one where the line below has none. */
function areNames(first: readonly string[], below: readonly string[] | undefined): boolean {
  if (!below) return false;
  const isText = (cell: string | undefined): boolean => typeof cellValue(cell ?? "") === "string";
  return first.every(isText) || first.some((cell, i) => isText(cell) && !isText(below[i]));
}

/** Cells of a line; quotes keep separators in a cell, and two of them are one. */
function cellsOf(line: string, separator: string): string[] {
  const found: string[] = [];
  let cell = "";
  let isQuoted = false;
  for (let i = 0; i < line.length; i++) {
    const sign = line[i]!;
    if (isQuoted && sign === '"' && line[i + 1] === '"') {
      cell += '"';
      i++;
    } else if (sign === '"') isQuoted = !isQuoted;
    else if (sign === separator && !isQuoted) {
      found.push(cell.trim());
      cell = "";
    } else cell += sign;
  }
  return [...found, cell.trim()];
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** A number where it is one, null where nothing stands, else the text. */
function cellValue(cell: string): unknown {
  if (cell === "") return null;
  if (!NUMBER.test(cell)) return cell;
  const number = Number(cell);
  if (!Number.isFinite(number)) return cell;
  return /^-?\d+$/.test(cell) && !Number.isSafeInteger(number) ? BigInt(cell) : number;
}
