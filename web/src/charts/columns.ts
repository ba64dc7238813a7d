/** Rows of a history as growing columns of numbers. */

/** A number as the API writes it: what is not finite is a word, what is not known is null. */
export type Cell = number | null | string;

export function toNumber(cell: Cell | undefined): number {
  if (typeof cell === "number") return cell;
  if (cell === "Infinity") return Number.POSITIVE_INFINITY;
  if (cell === "-Infinity") return Number.NEGATIVE_INFINITY;
  return Number.NaN;
}

export class Columns {
  length = 0;
  private room = 0;
  private readonly arrays = new Map<string, Float64Array>();

  /** `axis`: the column that grows from row to row. */
  constructor(readonly axis: string) {}

  get names(): string[] {
    return [...this.arrays.keys()];
  }

  get(name: string): Float64Array | undefined {
    return this.arrays.get(name)?.subarray(0, this.length);
  }

  /** The last value of the axis; -1 while there are no rows. */
  get end(): number {
    return this.length ? this.arrays.get(this.axis)![this.length - 1]! : -1;
  }

  /** Add rows. Rows from their first one on that are there already go: a resumed attempt repeats
   * them. Columns of lists (points of a function) are left out. */
  append(series: Record<string, readonly (Cell | readonly Cell[])[]>): void {
    const axis = series[this.axis] as readonly Cell[] | undefined;
    if (!axis?.length) return;
    this.length = this.countBefore(toNumber(axis[0]));
    const length = this.length + axis.length;
    this.makeRoom(length);
    for (const [name, cells] of Object.entries(series)) {
      if (Array.isArray(cells[0])) continue;
      if (!this.arrays.has(name)) {
        this.arrays.set(name, new Float64Array(this.room).fill(Number.NaN));
      }
      const array = this.arrays.get(name)!;
      for (let i = 0; i < cells.length; i++) array[this.length + i] = toNumber(cells[i] as Cell);
    }
    for (const [name, array] of this.arrays) {
      if (!(name in series)) array.fill(Number.NaN, this.length, length);
    }
    this.length = length;
  }

  /** The rows whose axis lies beyond a value. */
  after(value: number): Record<string, number[]> {
    const axis = this.get(this.axis) ?? [];
    let from = lowerBound(axis, value);
    if (axis[from] === value) from++;
    return Object.fromEntries(this.names.map((name) => [name, [...this.get(name)!.slice(from)]]));
  }

  /** The number of rows that lie before `value` on the axis. */
  private countBefore(value: number): number {
    const axis = this.get(this.axis);
    return axis === undefined ? 0 : lowerBound(axis, value);
  }

  private makeRoom(length: number): void {
    if (length <= this.room) return;
    this.room = Math.max(1024, 2 ** Math.ceil(Math.log2(length)));
    for (const [name, array] of this.arrays) {
      const larger = new Float64Array(this.room);
      larger.set(array.subarray(0, this.length));
      this.arrays.set(name, larger);
    }
  }
}

/** Index of the first value that is not below `value`, in an ascending array. */
export function lowerBound(array: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the value closest to `value`, in an ascending array that is not empty. */
export function nearest(array: ArrayLike<number>, value: number): number {
  const after = Math.min(lowerBound(array, value), array.length - 1);
  if (after === 0) return 0;
  return value - array[after - 1]! <= array[after]! - value ? after - 1 : after;
}

/** The place of the row, of any line, that is closest to `x`. */
export function nearestRow(lines: readonly { x: Float64Array }[], x: number): number {
  const places = lines.flatMap((line) => (line.x.length ? [line.x[nearest(line.x, x)]!] : []));
  const [first, ...others] = places;
  if (first === undefined) return x;
  return others.reduce((best, at) => (Math.abs(at - x) < Math.abs(best - x) ? at : best), first);
}
