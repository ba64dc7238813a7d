/** The map of a study: what became of each configuration, by the values of two parameters. */
import { type Cell, toNumber } from "../charts/columns";
import type { Scale } from "../charts/scales";
import {
  axesOf,
  type Configuration,
  groupsOf,
  isLost,
  partsOf,
  type Unknown,
  unknownOf,
} from "./dial";

export type Pair = readonly [string, string];

/** A configuration on the map. `value` is NaN where no run gave a finite one. */
export type Place = Unknown & {
  configuration: number;
  x: number;
  y: number;
  value: number;
  isLost: boolean;
};

/** A grid of configurations; `xs` and `ys` ascend. */
export type StudyMap = { xs: number[]; ys: number[]; places: Place[] };

/** Values that an axis has at least, and the part of the grid that has configurations. */
const [FEWEST, FILLED] = [3, 0.5];

/** The pairs of parameters by which a map can be drawn: their values make a grid, half of which has
 * configurations that differ in nothing else. */
export function pairsOf(
  configurations: readonly Configuration[],
  words: (value: unknown) => string,
): Pair[] {
  const axes = axesOf(configurations);
  const pairs = axes.flatMap((x, i) => axes.slice(i + 1).map((y): Pair => [x, y]));
  return pairs.filter((pair) => {
    const [largest] = groupsOf(configurations, pair, words).values();
    if (!largest) return false;
    const { xs, ys, places } = mapOf(largest, pair);
    const isWide = xs.length >= FEWEST && ys.length >= FEWEST;
    return isWide && places.length >= FILLED * xs.length * ys.length;
  });
}

/** Place configurations by two of their parameters. */
export function mapOf(configurations: readonly Configuration[], [x, y]: Pair): StudyMap {
  const places = configurations.map((each): Place => {
    const parts = partsOf(each.params);
    const lost = isLost(each);
    return {
      configuration: each.configuration,
      x: Number(parts[x]),
      y: Number(parts[y]),
      value: lost ? Number.NaN : toNumber(each.mean),
      isLost: lost,
      ...unknownOf(each),
    };
  });
  const ascending = (values: number[]): number[] => [...new Set(values)].sort((a, b) => a - b);
  return {
    xs: ascending(places.map((place) => place.x)),
    ys: ascending(places.map((place) => place.y)),
    places,
  };
}

/** Edges of the cells of ascending values, in heights of the scale: halfway between two of them, and as
 * far beyond the first and the last. */
export function edgesOf(values: readonly number[], { forward }: Scale): number[] {
  const at = values.map(forward);
  const inner = at.slice(1).map((height, i) => (height + at[i]!) / 2);
  const [first, last] = [at[0]!, at.at(-1)!];
  return [2 * first - inner[0]!, ...inner, 2 * last - inner.at(-1)!];
}

/** Index of the cell in which a height lies; null outside. */
export function cellOf(edges: readonly number[], height: number): number | null {
  const at = edges.findIndex((edge) => height < edge) - 1;
  return at >= 0 ? at : null;
}

export type Way = readonly [number, number];

/** The place next to one in a direction; cells without a configuration are passed over. From nowhere
 * it is the lowest at the left. Null at the border. */
export function neighbourOf(
  { xs, ys, places }: StudyMap,
  from: Place | null,
  way: Way,
): Place | null {
  let [i, j] = from ? [xs.indexOf(from.x), ys.indexOf(from.y)] : [0, 0];
  if (from) [i, j] = [i + way[0], j + way[1]];
  for (; i >= 0 && j >= 0 && i < xs.length && j < ys.length; i += way[0], j += way[1]) {
    const found = places.find((place) => place.x === xs[i] && place.y === ys[j]);
    if (found) return found;
  }
  return null;
}

/** Share of the way from the best to the worst value, by logarithms where all are positive and span a
 * factor of 20. */
export function shadeOf(places: readonly Place[], goal: "min" | "max") {
  const finite = places.map((place) => place.value).filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const isLog = low > 0 && high / low > 20;
  const height = (value: number): number => (isLog ? Math.log(value) : value);
  const span = height(high) - height(low) || 1;
  const share = (value: number): number => {
    const up = (height(value) - height(low)) / span;
    return goal === "min" ? up : 1 - up;
  };
  return { best: goal === "min" ? low : high, worst: goal === "min" ? high : low, isLog, share };
}

/** The distinct minima that a study found; points within `radius` of each other are one. */
export type Minima = {
  radius: readonly number[];
  minima: readonly { point: unknown; num_runs: number }[];
};

/** Where the runs of starts in a plane came to: the minima, and the index of each configuration's; null
 * for one that ended elsewhere. */
export type Basins = {
  minima: readonly (readonly number[])[];
  of: ReadonlyMap<number, number | null>;
};

type Ended = { configuration: number; result: unknown };

/** The basins of a study whose map is one of starts; null for another map. The minima that most runs
 * reached come first. */
export function basinsOf(found: Minima | null, runs: readonly Ended[], pair: Pair): Basins | null {
  if (!found?.minima.length || !pair.every((path) => path.startsWith("problem.start"))) return null;
  const sorted = [...found.minima].sort((a, b) => b.num_runs - a.num_runs);
  const minima = sorted.map((each) => pointOf(each.point));
  if (minima[0]!.length !== 2) return null;
  const reached = runs.map((run): [number, number | null] => {
    const solution = (run.result as { solution?: unknown } | null)?.solution;
    return [run.configuration, minimumOf(minima, found.radius, pointOf(solution))];
  });
  return { minima, of: new Map(reached) };
}

/** The coordinates of a point, which is a list or has names. */
const pointOf = (point: unknown): number[] =>
  Object.values((point ?? {}) as object).map((each) => toNumber(each as Cell));

/** Index of the minimum nearest to a point, counted in radii; null where none is within its radius. */
export function minimumOf(
  minima: Basins["minima"],
  radius: readonly number[],
  point: readonly number[],
): number | null {
  let [nearest, best]: [number | null, number] = [null, Math.sqrt(point.length)];
  for (const [i, each] of minima.entries()) {
    const away = Math.hypot(...each.map((x, k) => (x - (point[k] ?? Number.NaN)) / radius[k]!));
    if (away <= best) [nearest, best] = [i, away];
  }
  return nearest;
}
