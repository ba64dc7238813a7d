/** The pictures of a study: the dial or the map of its configurations, and the curves of its runs. */
import { useMemo, useState } from "preact/hooks";
import type { Study } from "../api/types";
import { query, setQuery } from "../app/router";
import { Chart } from "../charts/chart";
import type { Line } from "../charts/plot";
import { chosenScale, ScaleChoice } from "../charts/scale-choice";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { count } from "../ui/format";
import {
  axesOf,
  type Configuration,
  type Dot,
  dialOf,
  groupsOf,
  nameOf,
  shortName,
  wordsFor,
} from "./dial";
import { Dial } from "./dial-picture";
import { edgeOf } from "./edge";
import { basinsOf, type Minima, mapOf, type Pair, pairsOf } from "./map";
import { coloursOf, MapView } from "./map-view";
import type { WatchedStudy } from "./watched";

const ZONE_COLOURS = { crawl: "c6", good: "c1", edge: "c2", diverge: "c5" } as const;
const RATE_AND_MOMENTUM = "optimizer.lr,optimizer.momentum";

type Props = { watched: WatchedStudy; study: Study };

/** One axis is a dial, two are a map. */
type Axes = readonly string[];
const isPair = (axes: Axes): axes is Pair => axes.length === 2;

export function Pictures({ watched, study }: Props) {
  const comparison = watched.comparison.value;
  const [lit, setLit] = useState<number | null>(null);
  const configurations = (comparison?.configurations ?? []) as unknown as Configuration[];
  const words = useMemo(() => wordsFor(configurations), [comparison]);
  const choices = useMemo(
    (): Axes[] => [
      ...pairsOf(configurations, words),
      ...axesOf(configurations).map((axis) => [axis]),
    ],
    [comparison],
  );
  const axes = choices.find((each) => `${each}` === query.value.get("dial")) ?? choices[0] ?? [];
  const groups = useMemo(() => groupsOf(configurations, axes, words), [comparison, `${axes}`]);
  const wanted = query.value.get("of");
  const group = wanted !== null && groups.has(wanted) ? wanted : ([...groups.keys()][0] ?? "");
  const own = groups.get(group) ?? [];
  const goal = comparison?.metric.goal ?? "min";
  const runs = watched.runs.value;
  const map = useMemo(() => (isPair(axes) ? mapOf(own, axes) : null), [groups, group]);
  const dots = useMemo(
    () => (axes.length === 1 ? dialOf(own, axes[0]!, goal) : []),
    [groups, group, goal],
  );
  const basins = useMemo(
    () =>
      isPair(axes) ? basinsOf((comparison?.minima ?? null) as Minima | null, runs, axes) : null,
    [groups, runs],
  );
  const colours = useMemo(
    () =>
      map
        ? coloursOf(map, basins)
        : dots.length
          ? zoneColours(dots)
          : ownColours(configurations.map((each) => each.configuration)),
    [map, basins, dots, comparison],
  );
  const onLight = (configuration: number | null): void => {
    setLit(configuration);
    if (configuration === null) return;
    const of = runs.filter((run) => run.configuration === configuration);
    void watched.loadCurves(of.map((run) => run.index));
  };
  const metric = comparison
    ? `${named("series", comparison.metric.name ?? "loss")} (${named("at", comparison.metric.at)})`
    : "";
  const [x, y] = axes.map(shortName);
  const title = basins
    ? t("basinsTitle")
    : map
      ? t("mapTitle", { metric, x: x!, y: y! })
      : t("dialTitle", { metric, axis: x ?? "" });
  // What else is swept may move the edge.
  const isAlone = `${axes}` === RATE_AND_MOMENTUM && group === "";
  const base = study.spec.base as Record<string, unknown>;
  const edge = useMemo(() => (isAlone ? edgeOf(base) : null), [study.id, isAlone]);
  return (
    <div class="study-pictures">
      {axes.length > 0 && own.length > 1 && (
        <section class="card" aria-label={t(map ? "map" : "dial")}>
          <div class="chart-head">
            <h2>{title}</h2>
            <span class="chart-tools">
              {groups.size > 1 && (
                <Choice
                  word="dialGroup"
                  value={group}
                  options={[...groups.keys()].map((each) => [each, each])}
                  onChange={(value) => setQuery({ of: value })}
                />
              )}
              {choices.length > 1 && (
                <Choice
                  word="dialAxis"
                  value={`${axes}`}
                  options={choices.map((each) => [`${each}`, each.map(shortName).join(" × ")])}
                  onChange={(value) => setQuery({ dial: value })}
                />
              )}
            </span>
          </div>
          {map && isPair(axes) ? (
            <MapView
              map={map}
              pair={axes}
              goal={goal}
              title={title}
              basins={basins}
              edge={edge}
              lit={lit}
              onLight={onLight}
            />
          ) : (
            <Dial dots={dots} axis={axes[0]!} metric={metric} lit={lit} onLight={onLight} />
          )}
        </section>
      )}
      <RunCurves
        watched={watched}
        study={study}
        colours={colours}
        lit={lit}
        hasPicture={axes.length > 0 && own.length > 1}
      />
    </div>
  );
}

const zoneColours = (dots: readonly Dot[]): Map<number, string> =>
  new Map(dots.map((dot) => [dot.configuration, dot.zone ? ZONE_COLOURS[dot.zone] : "c4"]));

/** Colours of configurations that stand on no dial and no map, the best ones first. */
const ownColours = (configurations: readonly number[]): Map<number, string> =>
  new Map(configurations.map((each, i) => [each, COLOURS[i] ?? "c4"]));
const COLOURS = ["c1", "c2", "c3", "c5", "c6", "c7", "c8"];

type CurvesProps = Props & {
  colours: ReadonlyMap<number, string>;
  lit: number | null;
  /** Whether there is a dial or a map to point at. */
  hasPicture: boolean;
};

function RunCurves({ watched, study, colours, lit, hasPicture }: CurvesProps) {
  const version = watched.version.value;
  const lines = useMemo(
    () => linesOf(watched, colours, lit),
    [version, colours, lit, watched.runs.value],
  );
  if (!lines.length) return null;
  return (
    <section class="card" aria-label={t("curves")}>
      <div class="chart-head">
        <h2>{t("dialTitle", { metric: named("series", "loss"), axis: named("axis", "step") })}</h2>
        <span class="chart-tools">
          <ScaleChoice />
        </span>
      </div>
      <Chart
        title={`${t("curves")} – ${study.name ?? study.id}`}
        axisName={named("axis", "step")}
        lines={lines}
        flags={[]}
        scale={chosenScale()}
        range={null}
        note={[
          t("curvesOf", { n: lines.length, total: count(study.progress.num_runs) }),
          ...(hasPicture ? [t("curvesHint")] : []),
        ].join(" ")}
        height={300}
        hideLegend={lines.length > 8}
      />
    </section>
  );
}

function linesOf(
  watched: WatchedStudy,
  colours: ReadonlyMap<number, string>,
  lit: number | null,
): Line[] {
  const shown = watched.runs.value.filter((run) => watched.curves.has(run.index));
  const words = wordsFor(shown);
  const lines = shown.flatMap((run): Line[] => {
    const columns = watched.curves.get(run.index)!;
    const x = columns.get("step");
    const y = columns.get("loss");
    if (!x || !y) return [];
    const isLit = run.configuration === lit;
    return [
      {
        key: `${run.index}`,
        label: nameOf(run.params as Record<string, unknown>, words),
        colour: colours.get(run.configuration) ?? "c4", // it stands on another dial
        width: isLit ? 2.5 : 1,
        isFaint: lit !== null && !isLit,
        x,
        y,
      },
    ];
  });
  return lines.sort((a, b) => (a.width ?? 1) - (b.width ?? 1)); // what is lit lies on top
}
