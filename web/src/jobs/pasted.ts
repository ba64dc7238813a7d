/** Rows as people paste them: JSON, or a table out of a file or a spreadsheet. */

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

/** Read rows from a text. A first line that is not numbers alone names the columns.
 *
 * Raises `SyntaxError` where the text is neither JSON nor a table of equal lines.
 */
export function rowsOf(text: string): Row[] {
  const trimmed = text.trim();
  if (trimmed.startsWith("[") || trimmed.startsWith("{")) {
    const found: unknown = JSON.parse(trimmed);
    if (!Array.isArray(found)) return [found as Row];
    const isOneRow =
      found.length > 0 && found.every((cell) => cell === null || typeof cell !== "object");
    return isOneRow ? [found] : (found as Row[]);
  }
  const separator = ["\t", ";", ","].find((each) => trimmed.includes(each)) ?? ",";
  const lines = trimmed.split(/\r?\n/).filter((line) => line.trim() !== "");
  const cells = lines.map((line) => cellsOf(line, separator));
  const [first, ...rest] = cells;
  if (!first) return [];
  const uneven = cells.findIndex((line) => line.length !== first.length);
  if (uneven > 0) {
    throw new UnevenRows(uneven + 1, cells[uneven]!.length, first.length);
  }
  const hasNames = rest.length > 0 && first.some((cell) => typeof cellValue(cell) !== "number");
  if (!hasNames) return cells.map((line) => line.map(cellValue));
  return rest.map((line) =>
    Object.fromEntries(line.map((cell, i) => [first[i]!, cellValue(cell)])),
  );
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

/** A number where it is one, null where nothing stands, else the text. */
function cellValue(cell: string): unknown {
  if (cell === "") return null;
  const number = Number(cell);
  return Number.isFinite(number) ? number : cell;
}
