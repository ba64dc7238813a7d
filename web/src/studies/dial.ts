/** The dial of a study: what became of each configuration, by the value of one parameter. */
import { type Cell, toNumber } from "../charts/columns";
import { type Scale, scaleOf } from "../charts/scales";
import { digitsFor, membersOf, shown } from "../ui/numbers";

export type Zone = "crawl" | "good" | "edge" | "diverge";
/** What is known of a configuration that has no value. `lost`: how many of its runs diverged, such as
 * "1 / 3"; empty where none did. */
export type Unknown = { isStopped: boolean; lost: string };

/** A configuration with its place on the dial. `y` is NaN where no run gave a finite value; `zone` is null
 * where nothing is known of it, since none diverged either. */
export type Dot = Unknown & {
  configuration: number;
  x: number;
  y: number;
  low: number;
  high: number;
  zone: Zone | null;
};

export type Configuration = {
  configuration: number;
  params: Record<string, unknown>;
  num_runs: number;
  num_diverged: number;
  mean: Cell;
  ci95: readonly Cell[] | null;
  values: readonly Cell[];
  /** How its runs were stopped before their end; null, or nothing, where none was. */
  stopped?: unknown;
};

/** Share of the span between the best and the worst finite value that still counts as good; on a
 * logarithmic dial the span is that of the logarithms. */
const GOOD = 0.15;

/** The parameters that a dial can have: numbers in every configuration, and more than one. */
export function axesOf(configurations: readonly Configuration[]): string[] {
  const parts = configurations.map((each) => partsOf(each.params));
  const names = [...new Set(parts.flatMap(Object.keys))];
  return names
    .filter((name) => {
      const values = parts.map((each) => each[name]);
      return values.every((value) => typeof value === "number") && new Set(values).size > 1;
    })
    .sort((a, b) => Number(b === "optimizer.lr") - Number(a === "optimizer.lr"));
}

/** Configurations that differ in nothing but these axes, by the name of what they have in common; only
 * these can stand on one dial, or map. The group with the most comes first. */
export function groupsOf<T extends Configuration>(
  configurations: readonly T[],
  axes: readonly string[],
  words: Words,
): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const each of configurations) {
    const rest = Object.entries(partsOf(each.params)).filter(([path]) => !axes.includes(path));
    const name = nameOf(Object.fromEntries(rest), words);
    found.set(name, [...(found.get(name) ?? []), each]);
  }
  const dials = [...found].filter(([, group]) => group.length > 1);
  return new Map(dials.sort((a, b) => b[1].length - a[1].length));
}

/** Parameters by dotted path: a swept object has its own members. */
export function flat(params: Record<string, unknown>, before = ""): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(params).flatMap(([name, value]) =>
      value !== null && typeof value === "object" && !Array.isArray(value)
        ? Object.entries(flat(value as Record<string, unknown>, `${before}${name}.`))
        : [[before + name, value]],
    ),
  );
}

const isCoordinates = (value: unknown): value is number[] =>
  Array.isArray(value) &&
  value.length <= LONGEST &&
  value.every((each) => typeof each === "number");
/** Numbers in a list that are parameters of their own: the coordinates of a start in a plane. */
const LONGEST = 2;

/** Parameters by path, where each number of a short list has its own (`problem.start[0]`). */
export function partsOf(params: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(flat(params)).flatMap(([path, value]) =>
      isCoordinates(value) ? value.map((each, i) => [`${path}[${i}]`, each]) : [[path, value]],
    ),
  );
}

/** Whether the greater part of a configuration's runs diverged. */
export const isLost = (each: Configuration): boolean => 2 * each.num_diverged > each.num_runs;

export const unknownOf = ({ stopped, num_diverged, num_runs }: Configuration): Unknown => ({
  isStopped: Boolean(stopped),
  lost: num_diverged > 0 ? `${num_diverged} / ${num_runs}` : "",
});

/** The last part of a parameter's path. */
export const shortName = (path: string): string => path.split(".").at(-1)!;

/** The scale of an axis with these ends. */
export const axisScale = (first: number, last: number): Scale =>
  scaleOf(first > 0 && last / first > 8 ? "log" : "linear");

/** Place each configuration, and say in which zone it lies. Below the best value of the parameter a
 * configuration that is not good crawls; above it, it is at the edge; one whose runs diverged, in
 * the greater part, diverges. */
export function dialOf(
  configurations: readonly Configuration[],
  axis: string,
  goal: "min" | "max",
): Dot[] {
  const dots = configurations.map((each): Dot => {
    const [low, high] = (each.ci95 ?? [each.mean, each.mean]).map((cell) => toNumber(cell));
    const lost = isLost(each);
    return {
      configuration: each.configuration,
      ...unknownOf(each),
      x: Number(partsOf(each.params)[axis]),
      y: lost ? Number.NaN : toNumber(each.mean),
      low: low!,
      high: high!,
      zone: lost ? "diverge" : null,
    };
  });
  dots.sort((a, b) => a.x - b.x);
  const finite = dots.filter((dot) => Number.isFinite(dot.y));
  if (!finite.length) return dots;
  const sign = goal === "min" ? 1 : -1;
  const best = finite.reduce((a, b) => (sign * b.y < sign * a.y ? b : a));
  const isLog = finite.every((dot) => dot.y > 0);
  const height = (y: number): number => sign * (isLog ? Math.log(y) : y);
  const heights = finite.map((dot) => height(dot.y));
  const limit = Math.min(...heights) + GOOD * (Math.max(...heights) - Math.min(...heights));
  for (const dot of dots) {
    if (!Number.isFinite(dot.y)) continue;
    if (height(dot.y) <= limit) dot.zone = "good";
    else dot.zone = dot.x < best.x ? "crawl" : "edge";
  }
  return dots;
}

export type Stretch = { zone: Zone | null; from: number; to: number };

/** Stretches of the axis in one zone, from halfway to the one before to halfway to the next. */
export function stretches(
  dots: readonly Dot[],
  halfway: (a: number, b: number) => number,
): Stretch[] {
  const found: Stretch[] = [];
  for (const [i, dot] of dots.entries()) {
    const from = i ? halfway(dots[i - 1]!.x, dot.x) : dot.x;
    const to = i < dots.length - 1 ? halfway(dot.x, dots[i + 1]!.x) : dot.x;
    const last = found.at(-1);
    if (last?.zone === dot.zone) last.to = to;
    else found.push({ zone: dot.zone, from, to });
  }
  return found;
}

/** A name for a configuration: its parameters, by as much of the end of each path as tells them apart. */
export function nameOf(params: Record<string, unknown>, words: Words): string {
  const found = Object.entries(flat(params));
  const names = found.map(([path]) => shortName(path));
  const isAlone = (name: string): boolean => names.indexOf(name) === names.lastIndexOf(name);
  const members = found.map(([path, value], i) => {
    const name = names[i]!;
    const isPlain = name === "kind" || isAlone(name);
    return [isPlain ? name : path.split(".").slice(-2).join("."), value] as const;
  });
  return membersOf(members, words);
}

type Words = (value: unknown) => string;

/** Words for the parameters of configurations, or runs, in the digits that tell them apart. */
export function wordsFor(all: readonly { params: Record<string, unknown> }[]): Words {
  const digits = digitsFor(all, (each, n) => nameOf(each.params, (value) => shown(value, n)));
  return (value) => shown(value, digits);
}
