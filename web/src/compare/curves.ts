/** Curves and figures of a comparison, arranged to be drawn and listed. */
import type { JobComparison } from "../api/types";
import { type Cell, toNumber } from "../charts/columns";
import type { Line } from "../charts/plot";

const COLOURS = ["c1", "c2", "c3", "c5", "c6", "c7", "c8", "c4"];
const DASHES: readonly (number[] | null)[] = [null, [7, 4], [2, 3], [9, 3, 2, 3]];

/** Colour and dashes of the n-th job: no two of the first 32 are drawn alike. */
export function styleOf(index: number): { colour: string; dash?: number[] } {
  const colour = COLOURS[index % COLOURS.length]!;
  const dash = DASHES[Math.floor(index / COLOURS.length) % DASHES.length];
  return dash ? { colour, dash } : { colour };
}

type Style = ReturnType<typeof styleOf>;

/** How each job is drawn, by its id: those of one band alike. */
export function stylesOf(found: JobComparison, isBand: boolean): Map<string, Style> {
  const groups = isBand ? found.groups.map((group) => group.jobs) : [];
  const grouped = new Set(groups.flat());
  const alone = found.jobs.filter((job) => !grouped.has(job.id)).map((job) => [job.id]);
  const all = [...groups, ...alone];
  return new Map(all.flatMap((jobs, i) => jobs.map((id) => [id, styleOf(i)] as const)));
}

/** One curve a job, on the axis that they have in common. */
export function linesOf(found: JobComparison, metric: string, isBand = false): Line[] {
  const styles = stylesOf(found, isBand);
  const x = Float64Array.from((found.curves.x ?? []) as number[]);
  const curves = (found.curves[metric] ?? {}) as Record<string, Cell[]>;
  return found.jobs.flatMap((job) => {
    const cells = curves[job.id];
    if (!cells) return [];
    const known = withoutGaps(x, cells);
    const label = job.name ?? shortName(job.id);
    return [{ key: job.id, label, ...styles.get(job.id)!, ...known }];
  });
}

/** Bands of jobs that differ by their seed only: the middle, and both edges, fainter. The curves of jobs that
 * are in none stand beside them. */
export function bandsOf(found: JobComparison): Line[] {
  const grouped = new Set(found.groups.flatMap((group) => group.jobs));
  const alone = linesOf(found, "loss", true).filter((line) => !grouped.has(line.key));
  return [...middlesOf(found), ...alone];
}

function middlesOf(found: JobComparison): Line[] {
  const x = Float64Array.from((found.curves.x ?? []) as number[]);
  return found.groups.flatMap((group, i) => {
    const first = found.jobs.find((job) => job.id === group.jobs[0]);
    const name = `${first?.name ?? shortName(group.jobs[0]!)} (${group.jobs.length})`;
    const { colour, ...style } = styleOf(i);
    const edge = (of: "low" | "high", sign: string): Line => ({
      ...{ key: `${group.jobs[0]} ${of}`, label: `${name} ${sign}`, colour },
      ...{ dash: [3, 3], isFaint: true, width: 1 },
      ...withoutGaps(x, group.band[of] as Cell[]),
    });
    const mid = withoutGaps(x, group.band.mid as Cell[]);
    const middle = {
      key: `${group.jobs[0]} mid`,
      label: name,
      colour,
      ...style,
      width: 2.5,
      ...mid,
    };
    return [middle, edge("low", "↓"), edge("high", "↑")];
  });
}

/** Null means that there is no row yet, or none any more: those places are left out, so that a
 * value that is no number is a row that had none. */
function withoutGaps(
  x: Float64Array,
  cells: readonly Cell[],
): { x: Float64Array; y: Float64Array } {
  const places = cells.flatMap((cell, i) => (cell === null ? [] : [i]));
  return {
    x: Float64Array.from(places, (i) => x[i]!),
    y: Float64Array.from(places, (i) => toNumber(cells[i])),
  };
}

const shortName = (id: string): string => `…${id.slice(-6)}`;

/** The change from the baseline in per cent of the baseline's value; null where that says nothing. */
export function percent(value: number, change: number): number | null {
  const base = value - change;
  return Number.isFinite(change) && base !== 0 ? (100 * change) / Math.abs(base) : null;
}

/** The paths in which the jobs differ, in the order in which they appear. */
export const differences = (found: JobComparison): string[] => [
  ...new Set(found.jobs.flatMap((job) => Object.keys(job.differs))),
];

export const metricsOf = (found: JobComparison): string[] => [
  ...new Set(["loss", ...found.jobs.flatMap((job) => Object.keys(job.metrics))]),
];

/** The curves as a table: one line a place of the axis, one column a job. */
export function csvOf(found: JobComparison, metric: string): string {
  const curves = (found.curves[metric] ?? {}) as Record<string, Cell[]>;
  const ids = found.jobs.map((job) => job.id).filter((id) => id in curves);
  const lines = ((found.curves.x ?? []) as number[]).map((x, i) =>
    [x, ...ids.map((id) => curves[id]![i] ?? "")].join(","),
  );
  return `${[found.axis, ...ids].join(",")}\n${lines.join("\n")}\n`;
}
