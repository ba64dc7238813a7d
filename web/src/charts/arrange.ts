/** From columns of values to what is drawn: points on one common axis, gaps, marks at the edges.
 *
 * Where there are more rows than pixels, each pixel column keeps its least and its largest value, so
 * that no extreme is lost. What is not finite is never drawn as a line across: the line has a gap
 * there, and a mark stands at the edge.
 */
import { lowerBound } from "./columns";
import { type Scale, TOO_LARGE } from "./scales";

export type Curve = { x: Float64Array; y: Float64Array };
/** Why a value has no height, and the edge at which it is marked. */
export type MarkKind = "nan" | "high" | "low" | "notPositive";
export type Mark = { x: number; kind: MarkKind };
export type Point = number | null | undefined;
/** For uPlot: null is a gap, undefined no row of this curve (the line goes on). */
export type Arranged = {
  x: number[];
  ys: Point[][];
  marks: Mark[][];
  /** Indices of points without a neighbour, which a line would not show. */
  lone: number[][];
  low: number;
  high: number;
  /** True if every row in view is drawn by itself. */
  isExact: boolean;
};

/** Rows in view up to which each is drawn by itself. */
const EXACT = 6_000;
const SLOTS = 3;

export function markOf(value: number, scale: Scale): MarkKind | null {
  if (Number.isNaN(value)) return "nan";
  if (value >= TOO_LARGE) return "high";
  if (value <= -TOO_LARGE) return "low";
  return scale.kind === "log" && value <= 0 ? "notPositive" : null;
}

/** Arrange curves for the range [`from`, `to`] of the axis, on `width` pixels. */
export function arrange(
  curves: readonly Curve[],
  from: number,
  to: number,
  width: number,
  scale: Scale,
): Arranged {
  const spans = curves.map(({ x }) => {
    const first = Math.max(0, lowerBound(x, from) - 1);
    let last = lowerBound(x, to);
    while (last < x.length && x[last]! <= to) last++;
    return [first, Math.min(x.length, last + 1)] as const;
  });
  const total = spans.reduce((sum, [first, last]) => sum + last - first, 0);
  const isExact = total <= EXACT;
  const made = isExact
    ? rowByRow(curves, spans, scale)
    : byPixel(curves, spans, from, to, Math.max(1, Math.floor(width)), scale);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const ys of made.ys) {
    for (let i = 0; i < ys.length; i++) {
      const y = ys[i];
      if (typeof y !== "number" || made.x[i]! < from || made.x[i]! > to) continue;
      if (y < low) low = y;
      if (y > high) high = y;
    }
  }
  return { ...made, lone: made.ys.map(lonePoints), low, high, isExact };
}

type Made = Pick<Arranged, "x" | "ys" | "marks">;
type Spans = readonly (readonly [number, number])[];

function rowByRow(curves: readonly Curve[], spans: Spans, scale: Scale): Made {
  const x = [...new Set(curves.flatMap((curve, i) => [...curve.x.subarray(...spans[i]!)]))].sort(
    (a, b) => a - b,
  );
  const place = new Map(x.map((value, i) => [value, i]));
  const marks: Mark[][] = [];
  const ys = curves.map((curve, c) => {
    const points: Point[] = new Array(x.length).fill(undefined);
    const ofCurve: Mark[] = [];
    const [first, last] = spans[c]!;
    for (let i = first; i < last; i++) {
      const value = curve.y[i]!;
      const kind = markOf(value, scale);
      if (kind) ofCurve.push({ x: curve.x[i]!, kind });
      points[place.get(curve.x[i]!)!] = kind ? null : scale.forward(value);
    }
    marks.push(ofCurve);
    return points;
  });
  return { x, ys, marks };
}

function byPixel(
  curves: readonly Curve[],
  spans: Spans,
  from: number,
  to: number,
  width: number,
  scale: Scale,
): Made {
  const step = (to - from) / width;
  const x = Array.from({ length: SLOTS * width }, (_, i) => from + (step * i) / SLOTS);
  const marks: Mark[][] = [];
  const ys = curves.map((curve, c) => {
    const points: Point[] = new Array(x.length).fill(undefined);
    const ofCurve: Mark[] = [];
    const [first, last] = spans[c]!;
    let pixel = -1;
    let least = 0;
    let most = 0;
    let isAny = false;
    let isFalling = false;
    let kinds = new Set<MarkKind>();
    const close = (): void => {
      if (pixel < 0) return;
      if (isAny) {
        points[SLOTS * pixel] = scale.forward(isFalling ? most : least);
        points[SLOTS * pixel + 1] = scale.forward(isFalling ? least : most);
      }
      if (kinds.size) {
        points[SLOTS * pixel + 2] = null;
        for (const kind of kinds) ofCurve.push({ x: x[SLOTS * pixel + 1]!, kind });
      }
    };
    for (let i = first; i < last; i++) {
      const at = Math.min(width - 1, Math.max(0, Math.floor((curve.x[i]! - from) / step)));
      if (at !== pixel) {
        close();
        pixel = at;
        isAny = false;
        if (kinds.size) kinds = new Set();
      }
      const value = curve.y[i]!;
      const kind = markOf(value, scale);
      if (kind) kinds.add(kind);
      else if (!isAny) {
        least = most = value;
        isAny = true;
      } else if (value < least) {
        least = value;
        isFalling = true;
      } else if (value > most) {
        most = value;
        isFalling = false;
      }
    }
    close();
    marks.push(ofCurve);
    return points;
  });
  return { x, ys, marks };
}

function lonePoints(ys: readonly Point[]): number[] {
  const found: number[] = [];
  let before: Point = null;
  let candidate = -1;
  for (let i = 0; i < ys.length; i++) {
    const y = ys[i];
    if (y === undefined) continue;
    if (y === null && candidate >= 0) found.push(candidate);
    candidate = y !== null && before === null ? i : -1;
    before = y;
  }
  if (candidate >= 0) found.push(candidate);
  return found;
}

/** How many values of the curves have no height, by kind. */
export function countMarks(curves: readonly Curve[], scale: Scale): Map<MarkKind, number> {
  const found = new Map<MarkKind, number>();
  for (const { y } of curves) {
    for (const value of y) {
      const kind = markOf(value, scale);
      if (kind) found.set(kind, (found.get(kind) ?? 0) + 1);
    }
  }
  return found;
}

/** A line of steps: each value holds until the next place. */
export function stepsOf(places: readonly number[], values: readonly number[]) {
  const before = (place: number): number => place - 1e-9 * Math.abs(place);
  const x = places.flatMap((place, i) => (i ? [before(place), place] : [place]));
  const y = values.flatMap((value, i) => (i ? [values[i - 1]!, value] : [value]));
  return { x: Float64Array.from(x), y: Float64Array.from(y) };
}
