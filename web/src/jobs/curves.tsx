/** A job's curves: training and evaluation together, with the axis and the scale of choice. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Job } from "../api/types";
import { query, remember, remembered, setQuery } from "../app/router";
import { Chart } from "../charts/chart";
import type { Columns } from "../charts/columns";
import { nearest } from "../charts/columns";
import type { Flag, Line, Range } from "../charts/plot";
import { chosenScale, ScaleChoice } from "../charts/scale-choice";
import { lang, named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { FailureWords } from "../ui/failure";
import { count } from "../ui/format";
import { flagsOf } from "./flags";
import type { JobRows } from "./rows";

type Axis = "step" | "epoch" | "time_s";
const AXES: readonly Axis[] = ["step", "epoch", "time_s"];
const PLACES = new Set<string>(AXES);
const COLOURS = ["c1", "c2", "c3", "c4", "c5"];

type Props = { job: Job; rows: JobRows; parent: JobRows | null };

export function Curves({ job, rows, parent }: Props) {
  const version = rows.version.value + (parent?.version.value ?? 0);
  const [range, setRange] = useState(() => (remembered("range") as Range | undefined) ?? null);
  const measures = measuresOf(rows);
  const measure = oneOf(query.value.get("curve"), measures) ?? "loss";
  const axes = AXES.filter((axis) => axis === "step" || rows.train.get(axis) !== undefined);
  const axis = oneOf(query.value.get("x"), axes) ?? "step";
  const scale = chosenScale();
  const lines = useMemo(
    () => linesOf(rows, parent, measure, axis),
    [version, measure, axis, job.id, lang.value],
  );
  const flags =
    measure === "loss" ? flagsOf(job).map((flag) => placed(flag, rows.train, axis)) : [];
  const onRange = (next: Range | null): void => {
    setRange(next);
    remember("range", next);
    const step = next && axis !== "step" ? stepsOf(next, rows.train, axis) : next;
    void rows.zoom(step);
  };
  useEffect(() => {
    if (rows.isLoaded.value && range) onRange(range); // where one has come back to
  }, [rows.isLoaded.value]);
  if (rows.error.value !== null) {
    return (
      <div class="banner bad" role="alert">
        <FailureWords error={rows.error.value} />
      </div>
    );
  }
  if (!lines.some((line) => line.x.length)) {
    const none = job.finished_at === null ? "noRowsYet" : "noRowsEver";
    return <p class="empty">{t(rows.isLoaded.value ? none : "loading")}</p>;
  }
  return (
    <Chart
      title={`${named("series", measure)} – ${job.name ?? job.id}`}
      axisName={named("axis", axis)}
      lines={lines}
      flags={flags}
      scale={scale}
      range={range}
      onRange={onRange}
      note={measure.startsWith("eval.") ? "" : noteOf(rows)}
      height={340}
    >
      <Choice
        word="curve"
        value={measure}
        options={measures.map((each) => [each, named("series", each)])}
        onChange={(value) => setQuery({ curve: value })}
      />
      <Choice
        word="xAxis"
        value={axis}
        options={axes.map((each) => [each, named("axis", each)])}
        onChange={(value) => {
          onRange(null);
          setQuery({ x: value });
        }}
      />
      <ScaleChoice />
    </Chart>
  );
}

function oneOf<T extends string>(value: string | null, of: readonly T[]): T | undefined {
  return of.find((each) => each === value);
}

/** What can be drawn: series of the training rows, and metrics of evaluations beside the loss. */
function measuresOf(rows: JobRows): string[] {
  const train = rows.train.names.filter((name) => !PLACES.has(name));
  const evals = rows.eval.names.filter((name) => !PLACES.has(name) && name !== "loss");
  return [...new Set(["loss", ...train]), ...evals.map((name) => `eval.${name}`)];
}

function linesOf(rows: JobRows, parent: JobRows | null, measure: string, axis: Axis): Line[] {
  const found: Line[] = [];
  const add = (of: Columns, name: string, line: Omit<Line, "x" | "y">): void => {
    const x = of.get(axis);
    const y = of.get(name);
    if (x && y) found.push({ ...line, x, y });
  };
  if (measure.startsWith("eval.")) {
    const name = measure.slice(5);
    if (parent) {
      add(parent.eval, name, { key: "parent", label: t("before"), colour: "c4", dash: [5, 4] });
    }
    add(rows.eval, name, { key: measure, label: named("series", measure), colour: "c2" });
    return found;
  }
  if (parent) {
    const before = { key: "parent", label: t("before"), colour: "c4", dash: [5, 4] };
    add(parent.train, measure, before);
  }
  const label = t(measure === "loss" ? "training" : "value");
  add(rows.detail ?? rows.train, measure, { key: measure, label, colour: COLOURS[0]! });
  if (measure === "loss" && rows.eval.length) {
    const line = { key: "eval", label: t("evaluation"), colour: COLOURS[1]!, width: 2 };
    add(rows.eval, "loss", line);
  }
  return found;
}

/** How many of the rows are shown. */
function noteOf(rows: JobRows): string {
  if (!rows.train.length) return "";
  if (rows.detail) {
    const total = count(rows.total);
    if (rows.isDetailWhole) return t("everyPointHere", { total });
    return t("nOfRange", { n: count(rows.detail.length), total });
  }
  if (rows.isWhole) return t("everyPoint", { n: count(rows.train.length) });
  return t("nOfTotal", { n: count(rows.train.length), total: count(rows.total) });
}

/** A flag moved from steps to the axis. */
function placed(flag: Flag, train: Columns, axis: Axis): Flag {
  const at = (step: number): number => {
    const steps = train.get("step");
    if (axis === "step" || !steps?.length) return step;
    return train.get(axis)![nearest(steps, step)]!;
  };
  return { ...flag, from: at(flag.from), to: at(flag.to) };
}

function stepsOf([from, to]: Range, train: Columns, axis: Axis): Range | null {
  const places = train.get(axis);
  const steps = train.get("step");
  if (!places?.length || !steps) return null;
  return [steps[nearest(places, from)]!, steps[nearest(places, to)]!];
}
