/** Axes: how values become heights, and where ticks stand. */

export type ScaleKind = "linear" | "log" | "symlog";
export type Scale = {
  kind: ScaleKind;
  /** The height of a value; NaN where it has none (0 and below on a logarithmic axis). */
  forward: (value: number) => number;
  inverse: (height: number) => number;
};

/** Magnitudes from which on a value cannot be told from infinity on a canvas. */
export const TOO_LARGE = 1e300 * 1e5;

/** Make a scale. `threshold` (symlog): up to it, in either direction, the axis is nearly linear. */
export function scaleOf(kind: ScaleKind, threshold = 1): Scale {
  if (kind === "log") {
    return {
      kind,
      forward: (value) => (value > 0 ? Math.log10(value) : Number.NaN),
      inverse: (height) => 10 ** height,
    };
  }
  if (kind === "symlog") {
    const unit = 2 * threshold;
    return {
      kind,
      forward: (value) => Math.asinh(value / unit) / Math.LN10,
      inverse: (height) => unit * Math.sinh(height * Math.LN10),
    };
  }
  return { kind, forward: (value) => value, inverse: (height) => height };
}

const LARGEST = 1e308;

export type Extent = {
  low: number;
  high: number;
  smallest: number;
  usual: number;
  numFinite: number;
};
const SAMPLES = 500;

/** The extent of the finite values; `smallest`: the least magnitude that is not 0; `usual`: the median
 * magnitude of some of them. */
export function extentOf(columns: readonly Float64Array[]): Extent {
  const found: Extent = {
    low: Number.POSITIVE_INFINITY,
    high: Number.NEGATIVE_INFINITY,
    smallest: Number.POSITIVE_INFINITY,
    usual: 0,
    numFinite: 0,
  };
  const sizes: number[] = [];
  for (const column of columns) {
    const every = Math.ceil(column.length / SAMPLES);
    for (let i = 0; i < column.length; i += every) {
      const size = Math.abs(column[i]!);
      if (size < TOO_LARGE) sizes.push(size);
    }
    for (const value of column) {
      const size = Math.abs(value);
      if (!(size < TOO_LARGE)) continue;
      found.numFinite++;
      if (value < found.low) found.low = value;
      if (value > found.high) found.high = value;
      if (size > 0 && size < found.smallest) found.smallest = size;
    }
  }
  found.usual = sizes.sort((a, b) => a - b)[sizes.length >> 1] ?? 0;
  return found;
}

/** The scale that shows values best: logarithmic where all are positive and span a factor of 50, or
 * where some are zero and the largest is 50 times the usual one. */
export function suggested(extent: Extent): ScaleKind {
  if (!extent.numFinite) return "linear";
  if (extent.low > 0) return extent.high / extent.low > 50 ? "log" : "linear";
  if (extent.low === 0 && extent.usual > 0 && extent.high / extent.usual > 50) return "log";
  const size = Math.max(Math.abs(extent.low), Math.abs(extent.high));
  return size / extent.smallest > 1e6 && size > 1e3 ? "symlog" : "linear";
}

/** The threshold of a symlog axis for these values: the least magnitude, but not below a thousandth of
 * the usual one. */
export function thresholdOf(extent: Extent): number {
  const size = Math.max(Math.abs(extent.low), Math.abs(extent.high));
  if (!extent.numFinite || size === 0) return 1;
  return 10 ** Math.floor(Math.log10(Math.max(extent.smallest, extent.usual / 1e3)));
}

/** The least and the largest height to show for these, with a margin. */
export function padded(low: number, high: number): [number, number] {
  if (!(low <= high)) return [0, 1];
  const margin = high > low ? 0.05 * (high - low) : Math.max(0.5, 0.05 * Math.abs(low));
  return [low - margin, high + margin];
}

/** About `count` ticks between two heights, as values. */
export function ticks(scale: Scale, low: number, high: number, count: number): number[] {
  if (scale.kind === "log") return logTicks(low, high, count);
  if (scale.kind === "symlog") return symlogTicks(scale, low, high, count);
  return linearTicks(low, high, count);
}

/** At least two of them, since one alone says nothing; `least`: what lies between two, or more. */
export function linearTicks(low: number, high: number, count: number, least = 0): number[] {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const steps = STEPS.map((each) => each * power).filter((step) => step >= least);
  const first = Math.max(
    0,
    steps.findIndex((step) => step >= raw),
  );
  for (let i = first; i >= 0; i--) {
    const found = multiples(steps[i] ?? least, low, high);
    if (found.length > 1 || i === 0) return found;
  }
  return [];
}

/** Nice distances between ticks, in powers of ten. */
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10];

function multiples(step: number, low: number, high: number): number[] {
  const found: number[] = [];
  const first = Math.ceil(low / step - 1e-9);
  for (let k = first; k * step <= high + step * 1e-9 && found.length < 100; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

function logTicks(low: number, high: number, count: number): number[] {
  const decades = high - low;
  if (decades < 1) {
    const plain = linearTicks(10 ** low, 10 ** high, count).filter((value) => value > 0);
    return plain.length > 1 ? plain : [10 ** ((low + high) / 2)];
  }
  const every = Math.max(1, Math.ceil(decades / count));
  const found = powers(low, high, every, decades < count / 2 ? [1, 2, 5] : [1]);
  return found.length > 1 ? found : powers(low, high, 1, [1, 2, 5]);
}

function powers(low: number, high: number, every: number, factors: readonly number[]): number[] {
  const found: number[] = [];
  for (let k = Math.floor(low); k <= Math.min(high, Math.log10(LARGEST)); k++) {
    if (k % every !== 0) continue;
    for (const factor of factors) {
      const height = k + Math.log10(factor);
      if (height >= low - 1e-9 && height <= high + 1e-9) found.push(Number(`${factor}e${k}`));
    }
  }
  return found;
}

function symlogTicks(scale: Scale, low: number, high: number, count: number): number[] {
  // The margin of an axis may lie beyond the largest number there is.
  const reach = Math.min(
    LARGEST,
    Math.max(Math.abs(scale.inverse(low)), Math.abs(scale.inverse(high))),
  );
  const unit = Math.abs(scale.inverse(Math.log10(2)));
  const first = Math.floor(Math.log10(unit));
  const decades = Math.max(1, Math.log10(reach) - first);
  const every = Math.max(1, Math.ceil((2 * decades) / count));
  const sizes: number[] = [];
  for (let k = first; 10 ** k <= reach * 1.0001; k += every) sizes.push(Number(`1e${k}`));
  const apart = (high - low) / (2 * count);
  const found = [0];
  for (const size of sizes) {
    const height = scale.forward(size);
    if (height - scale.forward(found[found.length - 1]!) < apart) continue;
    found.push(size);
    found.unshift(-size);
  }
  return found.filter((value) => {
    const height = scale.forward(value);
    return height >= low && height <= high;
  });
}
