/** One study: the dial, the curves behind it, the comparison, the minima, the runs. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, download, post, ROOT, withQuery } from "../api/client";
import type { Study, StudyComparison } from "../api/types";
import { tell, words } from "../app/notices";
import { query, setQuery } from "../app/router";
import { Chart } from "../charts/chart";
import type { Line } from "../charts/plot";
import { chosenScale, ScaleChoice } from "../charts/scale-choice";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { asNumber, count, seconds, shown } from "../ui/format";
import { ProgressBar, StatusPill } from "../ui/status";
import { axesOf, type Configuration, dialOf, groupsOf, nameOf } from "./dial";
import { Dial } from "./dial-picture";
import { Configurations, Importance, Minima, Profile, Runs } from "./tables";
import { WatchedStudy } from "./watched";

const ZONE_COLOURS = { crawl: "c6", good: "c1", edge: "c2", diverge: "c5" } as const;

export function StudyView({ id }: { id: string }) {
  const watched = useMemo(() => new WatchedStudy(id), [id]);
  useEffect(() => () => watched.close(), [watched]);
  const study = watched.study.value;
  useEffect(() => {
    document.title = `${study?.name ?? id} · Thalweg`;
  });
  const error = watched.error.value;
  if (error !== null && !study) {
    const isMissing = error instanceof ApiError && error.status === 404;
    return (
      <div class="empty" role="alert">
        <h1>{isMissing ? t("noSuchStudy") : t("didNotWork")}</h1>
        <p lang="en">{words(error)}</p>
        <a href={`${ROOT}/jobs`}>{t("toTheJobs")}</a>
      </div>
    );
  }
  if (!study) return <p class="empty">{t("loading")}</p>;
  return (
    <article class="compare study">
      <Head study={study} onChange={(next) => (watched.study.value = next)} />
      {watched.comparison.value && <Answer comparison={watched.comparison.value} />}
      <Pictures watched={watched} study={study} />
      {watched.comparison.value && (
        <>
          <Configurations comparison={watched.comparison.value} />
          <Profile comparison={watched.comparison.value} />
          <Minima comparison={watched.comparison.value} />
        </>
      )}
      <Importance study={study} />
      <Runs runs={watched.runs.value} />
    </article>
  );
}

function Head({ study, onChange }: { study: Study; onChange: (study: Study) => void }) {
  const { progress, status } = study;
  const move = (name: "pause" | "resume" | "cancel") => (
    <button
      type="button"
      onClick={() => void post<Study>(`/v1/studies/${study.id}/${name}`).then(onChange, tell)}
    >
      {t(name)}
    </button>
  );
  const plot = (format: string): string => withQuery(`/v1/studies/${study.id}/plot`, { format });
  return (
    <header>
      <p class="crumbs">
        <a href={`${ROOT}/jobs`}>{t("jobs")}</a> / <span class="mono">{study.id}</span>
      </p>
      <div class="head">
        <h1>{study.name ?? t("study")}</h1>
        <StatusPill status={status} />
        <span class="spacer" />
        <span class="row actions">
          {(status === "queued" || status === "running") && move("pause")}
          {status === "paused" && move("resume")}
          {["queued", "running", "paused"].includes(status) && move("cancel")}
          <button
            type="button"
            onClick={() => void download(plot("svg"), `${study.id}.svg`).catch(tell)}
          >
            SVG
          </button>
        </span>
      </div>
      <p class="job-progress">
        {study.finished_at === null && (
          <ProgressBar fraction={progress.fraction} label={t("progress")} />
        )}
        <span class="num">
          {t("runsDone", {
            n: count(progress.num_finished_runs),
            total: count(progress.num_runs),
          })}
          {progress.runs.diverged > 0 && ` · ${t("runsDiverged", { n: progress.runs.diverged })}`}
          {progress.eta_s !== null && ` · ${t("left", { s: seconds(asNumber(progress.eta_s)) })}`}
        </span>
      </p>
      {study.error && (
        <p class="banner bad" role="alert" lang="en">
          {study.error.message}
        </p>
      )}
    </header>
  );
}

/** What the study says, aloud: who won, or that nobody did, and why. */
function Answer({ comparison }: { comparison: StudyComparison }) {
  const { winner, leader, reason, configurations, complete } = comparison;
  const of = (number: number | null) =>
    configurations.find((each) => each.configuration === number) ?? null;
  const won = of(winner);
  const leads = of(leader);
  return (
    <section class={`card answer ${won ? "won" : "open"}`} aria-label={t("answer")}>
      <p class="answer-word">
        {won
          ? t("winnerIs", { name: nameOf(won.params, shown) })
          : complete
            ? t("noWinner")
            : t("noWinnerYet")}
      </p>
      {!won && leads && <p>{t("leaderIs", { name: nameOf(leads.params, shown) })}</p>}
      <p class="muted" lang="en">
        {reason}
      </p>
    </section>
  );
}

function Pictures({ watched, study }: { watched: WatchedStudy; study: Study }) {
  const comparison = watched.comparison.value;
  const [lit, setLit] = useState<number | null>(null);
  const configurations = (comparison?.configurations ?? []) as unknown as Configuration[];
  const axes = axesOf(configurations);
  const axis = axes.find((each) => each === query.value.get("dial")) ?? axes[0] ?? null;
  const goal = comparison?.metric.goal ?? "min";
  const groups = axis ? groupsOf(configurations, axis, shown) : new Map<string, Configuration[]>();
  const wanted = query.value.get("of");
  const group = wanted !== null && groups.has(wanted) ? wanted : ([...groups.keys()][0] ?? null);
  const dots = useMemo(
    () => (axis && group !== null ? dialOf(groups.get(group)!, axis, goal) : []),
    [comparison, axis, group],
  );
  const light = (configuration: number | null): void => {
    setLit(configuration);
    if (configuration === null) return;
    const own = watched.runs.value.filter((run) => run.configuration === configuration);
    void watched.loadCurves(own.map((run) => run.index));
  };
  const version = watched.version.value;
  const lines = useMemo(
    () => linesOf(watched, new Map(dots.map((dot) => [dot.configuration, dot.zone])), lit),
    [version, dots, lit, watched.runs.value],
  );
  const metric = comparison
    ? `${named("series", comparison.metric.name ?? "loss")} (${named("at", comparison.metric.at)})`
    : "";
  return (
    <div class="study-pictures">
      {axis && dots.length > 1 && (
        <section class="card" aria-label={t("dial")}>
          <div class="chart-head">
            <h2>{t("dialTitle", { metric, axis: axis.split(".").at(-1)! })}</h2>
            <span class="chart-tools">
              {groups.size > 1 && (
                <Choice
                  word="dialGroup"
                  value={group!}
                  options={[...groups.keys()].map((each) => [each, each])}
                  onChange={(value) => setQuery({ of: value })}
                />
              )}
              {axes.length > 1 && (
                <Choice
                  word="dialAxis"
                  value={axis}
                  options={axes.map((each) => [each, each])}
                  onChange={(value) => setQuery({ dial: value })}
                />
              )}
            </span>
          </div>
          <Dial dots={dots} axis={axis} metric={metric} lit={lit} onLight={light} />
        </section>
      )}
      {lines.length > 0 && (
        <section class="card" aria-label={t("curves")}>
          <div class="chart-head">
            <h2>
              {t("dialTitle", { metric: named("series", "loss"), axis: named("axis", "step") })}
            </h2>
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
            note={t("curvesOf", {
              n: lines.length,
              total: count(study.progress.num_runs),
            })}
            height={300}
            hideLegend={lines.length > 8}
          />
        </section>
      )}
    </div>
  );
}

function linesOf(
  watched: WatchedStudy,
  zones: Map<number, keyof typeof ZONE_COLOURS>,
  lit: number | null,
): Line[] {
  const of = new Map(watched.runs.value.map((run) => [run.index, run]));
  const lines = [...watched.curves].flatMap(([index, columns]): Line[] => {
    const run = of.get(index);
    const x = columns.get("step");
    const y = columns.get("loss");
    if (!run || !x || !y) return [];
    const isLit = run.configuration === lit;
    const zone = zones.get(run.configuration);
    return [
      {
        key: `${index}`,
        label: nameOf(run.params as Record<string, unknown>, shown),
        colour: zone ? ZONE_COLOURS[zone] : "c1",
        width: isLit ? 2.5 : 1,
        isFaint: lit !== null && !isLit,
        x,
        y,
      },
    ];
  });
  return lines.sort((a, b) => (a.width ?? 1) - (b.width ?? 1)); // what is lit lies on top
}
