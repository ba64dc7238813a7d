/** Values of a function over a rectangle: where they are asked for, their levels, a slice's directions. */
import { type Cell, lowerBound, toNumber } from "../charts/columns";
import type { Extents, Point } from "./setup";

/** Values on a grid, row by row from the least second coordinate on. */
export type Field = { values: Float64Array; count: number; extents: Extents };

/** The grid's points, `count` in each direction. */
export function gridOf(extents: Extents, count: number): Point[] {
  const [left, right, bottom, top] = extents;
  const at = (low: number, high: number, i: number): number =>
    Number((low + ((high - low) * i) / (count - 1)).toPrecision(8));
  return Array.from({ length: count * count }, (_, i) => [
    at(left, right, i % count),
    at(bottom, top, Math.floor(i / count)),
  ]);
}

/** Ascending values between `count` bands: their heights above the least value grow like powers. */
export function levelsOf(values: Float64Array, count: number): number[] {
  const finite = values.filter((value) => Math.abs(value) < 1e300).sort();
  if (finite.length < 2) return [];
  const low = finite[0]!;
  const range = finite.at(-1)! - low;
  if (!(range > 0)) return [];
  const near = finite[Math.floor(0.02 * finite.length)]! - low;
  const scale = Math.min(Math.max(near, 1e-6 * range), range / 8);
  const power = Math.log1p(range / scale);
  return Array.from(
    { length: count - 1 },
    (_, i) => low + scale * Math.expm1((power * (i + 1)) / count),
  );
}

/** The value at a place of the grid, given in cells, between four of its points. */
export function between({ values, count }: Field, x: number, y: number): number {
  const [i, j] = [Math.min(Math.floor(x), count - 2), Math.min(Math.floor(y), count - 2)];
  const [u, v] = [x - i, y - j];
  const at = j * count + i;
  const lower = values[at]! * (1 - u) + values[at + 1]! * u;
  const upper = values[at + count]! * (1 - u) + values[at + count + 1]! * u;
  return lower * (1 - v) + upper * v;
}

/** Index of the band of each pixel, row by row from the top; -1 where the function is not finite. */
export function bandsOf(
  field: Field,
  levels: readonly number[],
  width: number,
  height: number,
): Int8Array {
  const found = new Int8Array(width * height);
  const last = field.count - 1;
  for (let row = 0, at = 0; row < height; row++) {
    const y = last * (1 - (row + 0.5) / height);
    for (let column = 0; column < width; column++, at++) {
      const value = between(field, (last * (column + 0.5)) / width, y);
      found[at] = Number.isFinite(value) ? lowerBound(levels, value) : -1;
    }
  }
  return found;
}

const ANGLES = 90;

/** Points on a circle, which tell in which directions the function curves most and least. */
export function circleOf([x, y]: Point, radius: number): Point[] {
  return Array.from({ length: 2 * ANGLES }, (_, i) => {
    const angle = (Math.PI * i) / ANGLES;
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
  });
}

/** Directions of least and of largest curvature, of values on that circle: sums of opposite points
 * do not know the slope. Null where a value is not finite. */
export function directionsOf(values: ArrayLike<number>): { least: Point; most: Point } | null {
  const sums = Array.from({ length: ANGLES }, (_, i) => values[i]! + values[i + ANGLES]!);
  if (!sums.every(Number.isFinite)) return null;
  const of = (sum: number): Point => {
    const angle = (Math.PI * sums.indexOf(sum)) / ANGLES;
    return [Math.cos(angle), Math.sin(angle)];
  };
  return { least: of(Math.min(...sums)), most: of(Math.max(...sums)) };
}

/** Points of a line through a point, `count` of them, up to `reach` on both sides. */
export function lineThrough([x, y]: Point, [dx, dy]: Point, reach: number, count: number): Point[] {
  return Array.from({ length: count }, (_, i) => {
    const offset = reach * ((2 * i) / (count - 1) - 1);
    return [x + offset * dx, y + offset * dy];
  });
}

export type Path = { x: readonly number[]; y: readonly number[] };

/** The path and step that lie nearest to a place, within `reach`; all in the same measure. */
export function pickStep(
  paths: readonly Path[],
  [x, y]: Point,
  reach: number,
  place: (point: Point) => Point,
): { path: number; step: number } | null {
  let found: { path: number; step: number } | null = null;
  let least = reach;
  paths.forEach((each, path) => {
    for (let step = 0; step < each.x.length; step++) {
      const [px, py] = place([each.x[step]!, each.y[step]!]);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) {
        least = distance;
        found = { path, step };
      }
    }
  });
  return found;
}

/** The length of a path, as far as it is finite. */
export function lengthOf({ x, y }: Path): number {
  let sum = 0;
  for (let i = 1; i < x.length; i++) {
    const part = Math.hypot(x[i]! - x[i - 1]!, y[i]! - y[i - 1]!);
    if (Number.isFinite(part)) sum += part;
  }
  return sum;
}

/** As the diagnosis measured it: an eigenvalue of the Hessian, and how far it may be off. */
export type Curvature = { value?: Cell; bound?: Cell };
export type Shape = "up" | "down" | "both" | "flat";

/** The kind of point that two curvatures make, each where it differs from 0 by more than its bound;
 * null where one is not known. */
export function shapeOf(least: Curvature, most: Curvature): Shape | null {
  const sign = ({ value, bound }: Curvature): number => {
    const found = toNumber(value);
    return Math.abs(found) <= Math.max(toNumber(bound ?? 0), 1e-9) ? 0 : Math.sign(found);
  };
  const [low, high] = [sign(least), sign(most)];
  if (Number.isNaN(low) || Number.isNaN(high)) return null;
  if (low < 0 && high > 0) return "both";
  if (low > 0) return "up";
  return high < 0 ? "down" : "flat";
}
