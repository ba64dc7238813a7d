/** One study: the dial, the curves behind it, the comparison, the minima, the runs. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, download, post, ROOT, withQuery } from "../api/client";
import type { Study, StudyComparison, StudyRun } from "../api/types";
import { tell, words } from "../app/notices";
import { query, setQuery } from "../app/router";
import { Chart } from "../charts/chart";
import type { Line } from "../charts/plot";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { asNumber, count, seconds, short, shown } from "../ui/format";
import { ProgressBar, StatusPill } from "../ui/status";
import { axesOf, type Configuration, dialOf, groupsOf, nameOf } from "./dial";
import { Dial } from "./dial-picture";
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
        <ProgressBar fraction={progress.fraction} label={t("progress")} />
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
          <Chart
            title={`${t("curves")} – ${study.name ?? study.id}`}
            axisName={named("axis", "step")}
            lines={lines}
            flags={[]}
            scale={null}
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

function Configurations({ comparison }: { comparison: StudyComparison }) {
  const { configurations, metric, level, winner, leader } = comparison;
  const [isWhole, setWhole] = useState(false);
  const rows = isWhole ? configurations : configurations.slice(0, 20);
  const ends = configurations.flatMap((each) => [
    ...(each.ci95 ?? []).map((cell) => asNumber(cell)!),
    asNumber(each.mean) ?? Number.NaN,
  ]);
  const finite = ends.filter(Number.isFinite);
  const [from, to] = [Math.min(...finite), Math.max(...finite)];
  const isLog = from > 0 && to / from > 20;
  const place = (value: number): number =>
    to === from
      ? 50
      : 100 * (isLog ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from));
  return (
    <section class="card flush scroll" aria-label={t("comparison")}>
      <table class="compared">
        <caption class="hidden">{t("comparison")}</caption>
        <thead>
          <tr>
            <th scope="col" class="right">
              {t("rank")}
            </th>
            <th scope="col">{t("configuration")}</th>
            <th scope="col" class="right">
              {t("meanOf", { metric: named("series", metric.name ?? "loss") })}
            </th>
            <th scope="col">
              {t("interval", { n: Math.round(100 * level) })}
              {isLog && ` (${t("scale_log")})`}
            </th>
            <th scope="col" class="right">
              {t("runs")}
            </th>
            <th scope="col" class="right">
              {t("outcome_diverged")}
            </th>
            <th scope="col" class="right">
              {t("toTarget")}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((each) => (
            <tr key={each.configuration} class={each.configuration === winner ? "is-base" : ""}>
              <td class="right num">{each.rank ?? "–"}</td>
              <td>
                {nameOf(each.params as Record<string, unknown>, shown) || "–"}
                {each.configuration === winner && <span class="tag">{t("winner")}</span>}
                {winner === null && each.configuration === leader && (
                  <span class="tag">{t("leader")}</span>
                )}
              </td>
              <td class="right num">{short(asNumber(each.mean))}</td>
              <td>
                <Interval mean={asNumber(each.mean)} ends={each.ci95} place={place} />
              </td>
              <td class="right num">{each.num_runs}</td>
              <td class="right num">
                {each.num_diverged + each.num_failed > 0
                  ? `${each.num_diverged + each.num_failed} / ${each.num_runs}`
                  : "–"}
              </td>
              <td class="right num">{targetWords(each)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {configurations.length > rows.length && (
        <p class="more">
          <button type="button" onClick={() => setWhole(true)}>
            {t("showAll", { n: configurations.length })}
          </button>
        </p>
      )}
    </section>
  );
}

type IntervalProps = {
  mean: number | null;
  ends: readonly unknown[] | null;
  place: (value: number) => number;
};

function Interval({ mean, ends, place }: IntervalProps) {
  if (mean === null || !Number.isFinite(mean)) return null;
  const [low, high] = (ends ?? [mean, mean]).map((cell) => asNumber(cell)!);
  const label = ends ? `${short(low)} – ${short(high)}` : short(mean);
  return (
    <svg class="interval" viewBox="-2 0 104 12" preserveAspectRatio="none" role="img">
      <title>{label}</title>
      <line x1={place(low!)} x2={place(high!)} y1="6" y2="6" class="interval-line" />
      <line x1={place(mean)} x2={place(mean)} y1="1" y2="11" class="interval-mean" />
    </svg>
  );
}

function targetWords(each: StudyComparison["configurations"][number]): string {
  const reached = each.steps_to_target;
  if (!reached) return "–";
  const median = asNumber(reached.median);
  const share = `${reached.num_reached} / ${each.num_runs}`;
  return median === null ? share : `${share} · ${t("steps", { n: count(median) })}`;
}

type ProfileSolver = {
  params: Record<string, unknown>;
  steps: { rho: number[] } | null;
};

function Profile({ comparison }: { comparison: StudyComparison }) {
  const profile = comparison.profile as { taus: number[]; solvers: ProfileSolver[] } | null;
  if (!profile) return null;
  const colours = ["c1", "c2", "c3", "c5", "c6", "c7", "c8", "c4"];
  const lines = profile.solvers.slice(0, 16).flatMap((solver, i): Line[] =>
    solver.steps
      ? [
          {
            key: `${i}`,
            label: nameOf(solver.params, shown),
            colour: colours[i % colours.length]!,
            ...(i >= colours.length ? { dash: [6, 4] } : {}),
            width: 2,
            x: Float64Array.from(profile.taus),
            y: Float64Array.from(solver.steps.rho),
          },
        ]
      : [],
  );
  return (
    <section class="card" aria-label={t("profile")}>
      <h2>{t("profile")}</h2>
      <Chart
        title={t("profile")}
        axisName="τ"
        lines={lines}
        flags={[]}
        scale="linear"
        range={null}
        note={t("profileNote")}
        height={240}
      />
    </section>
  );
}

type Minimum = { point: number[]; value: unknown; share: number; num_runs: number };

function Minima({ comparison }: { comparison: StudyComparison }) {
  const found = comparison.minima as {
    num_starts: number;
    num_minima: number;
    num_unsettled: number;
    minima: Minimum[];
  } | null;
  if (!found?.minima.length) return null;
  const most = Math.max(...found.minima.map((each) => each.share));
  return (
    <section class="card flush scroll" aria-label={t("minima")}>
      <h2 class="card-head">
        {t("minimaTitle", { n: found.num_minima, starts: found.num_starts })}
      </h2>
      <table class="compared">
        <thead>
          <tr>
            <th scope="col" class="right">
              {t("value")}
            </th>
            <th scope="col">{t("point")}</th>
            <th scope="col">{t("shareOfStarts")}</th>
          </tr>
        </thead>
        <tbody>
          {found.minima.slice(0, 30).map((each) => (
            <tr key={String(each.point)}>
              <td class="right num">{short(asNumber(each.value))}</td>
              <td class="num">
                (
                {each.point
                  .slice(0, 4)
                  .map((x) => short(tidy(x), 3))
                  .join(", ")}
                )
              </td>
              <td>
                <span class="share-bar" style={{ width: `${(110 * each.share) / most}px` }} />{" "}
                <span class="num">
                  {short(100 * each.share, 3)} % ({each.num_runs})
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** What is nought but for rounding is shown as 0. */
const tidy = (x: number): number => (Math.abs(x) < 1e-12 ? 0 : x);

function Importance({ study }: { study: Study }) {
  const found = (
    study.result as { importance?: { importance: Record<string, number> | null } } | null
  )?.importance?.importance;
  const shares = Object.entries(found ?? {}).sort((a, b) => b[1] - a[1]);
  if (shares.length < 2) return null;
  return (
    <section class="card" aria-label={t("importance")}>
      <h2>{t("importance")}</h2>
      <table class="small-table">
        <tbody>
          {shares.map(([name, share]) => (
            <tr key={name}>
              <th scope="row" class="mono">
                {name}
              </th>
              <td>
                <span class="share-bar" style={{ width: `${160 * share}px` }} />
              </td>
              <td class="num right">{short(100 * share, 3)} %</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** The runs, the best first; those under way and lost ones are never left out. */
function Runs({ runs }: { runs: readonly StudyRun[] }) {
  const [most, setMost] = useState(20);
  if (!runs.length) return null;
  return (
    <section class="card flush scroll" aria-label={t("runs")}>
      <table class="compared">
        <caption class="hidden">{t("runs")}</caption>
        <thead>
          <tr>
            <th scope="col" class="right">
              {t("run")}
            </th>
            <th scope="col">{t("state")}</th>
            <th scope="col">{t("configuration")}</th>
            <th scope="col" class="right">
              {t("metric")}
            </th>
            <th scope="col" class="right">
              {t("stepsDone")}
            </th>
          </tr>
        </thead>
        <tbody>
          {runs.slice(0, most).map((run) => (
            <tr key={run.index}>
              <td class="right num">{run.index}</td>
              <td>
                <StatusPill status={run.status} outcome={run.outcome} />
              </td>
              <td>{nameOf(run.params as Record<string, unknown>, shown)}</td>
              <td class="right num">{short(asNumber(run.metric))}</td>
              <td class="right num">
                {run.result
                  ? count(asNumber((run.result as { num_steps?: number }).num_steps) ?? 0)
                  : "–"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {runs.length > most && (
        <p class="more">
          <button type="button" onClick={() => setMost(most + 100)}>
            {t("showMore")}
          </button>
        </p>
      )}
    </section>
  );
}
