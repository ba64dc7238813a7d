/** Tables of a study: configurations, the performance profile, minima, importance, runs. */
import { useMemo, useState } from "preact/hooks";
import type { Study, StudyComparison, StudyRun } from "../api/types";
import { stepsOf } from "../charts/arrange";
import { Chart } from "../charts/chart";
import type { Line } from "../charts/plot";
import { named, t } from "../i18n";
import { asNumber, count, short } from "../ui/format";
import { Scrolled } from "../ui/scrolled";
import { StatusPill } from "../ui/status";
import { nameOf, wordsFor } from "./dial";

export function Configurations({ comparison }: { comparison: StudyComparison }) {
  const { configurations, metric, level, winner, leader } = comparison;
  const hasTarget = configurations.some((each) => each.steps_to_target);
  const hasFailed = configurations.some((each) => each.num_failed > 0);
  const [isWhole, setWhole] = useState(false);
  const rows = isWhole ? configurations : configurations.slice(0, 20);
  const words = useMemo(() => wordsFor(configurations), [configurations]);
  if (!configurations.length) return null;
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
    <Scrolled label={t("comparison")}>
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
              {t(hasFailed ? "divergedOrFailed" : "outcome_diverged")}
            </th>
            {hasTarget && (
              <th scope="col" class="right">
                {t("toTarget")}
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((each) => (
            <tr key={each.configuration} class={each.configuration === winner ? "is-base" : ""}>
              <td class="right num">{isRanked(each) ? each.rank : "–"}</td>
              <td>
                {nameOf(each.params as Record<string, unknown>, words) || "–"}
                {each.configuration === winner && <span class="tag">{t("winner")}</span>}
                {winner === null && each.configuration === leader && (
                  <span class="tag">{t("leader")}</span>
                )}
                {each.stopped !== null && <span class="tag">{t("stoppedEarly")}</span>}
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
              {hasTarget && <td class="right num">{targetWords(each)}</td>}
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
    </Scrolled>
  );
}

/** Whether a rank says something: of what has no value yet, or was stopped, it is but an order. */
const isRanked = ({ mean, num_diverged }: StudyComparison["configurations"][number]): boolean =>
  mean !== null || num_diverged > 0;

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

export function Profile({ comparison }: { comparison: StudyComparison }) {
  const profile = comparison.profile as { taus: number[]; solvers: ProfileSolver[] } | null;
  if (!profile) return null;
  const colours = ["c1", "c2", "c3", "c5", "c6", "c7", "c8", "c4"];
  const words = wordsFor(profile.solvers);
  const lines = profile.solvers.slice(0, 16).flatMap((solver, i): Line[] =>
    solver.steps
      ? [
          {
            key: `${i}`,
            label: nameOf(solver.params, words),
            colour: colours[i % colours.length]!,
            ...(i >= colours.length ? { dash: [6, 4] } : {}),
            width: 2,
            ...stepsOf(profile.taus, solver.steps.rho),
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

export function Minima({ comparison }: { comparison: StudyComparison }) {
  const found = comparison.minima as {
    num_starts: number;
    num_minima: number;
    num_unsettled: number;
    minima: Minimum[];
  } | null;
  if (!found?.minima.length) return null;
  const most = Math.max(...found.minima.map((each) => each.share));
  return (
    <Scrolled label={t("minima")}>
      <h2 class="card-head">
        {t("minimaTitle", {
          n: found.num_minima,
          runs: found.minima.reduce((sum, each) => sum + each.num_runs, 0),
          total: found.num_starts,
        })}
      </h2>
      <table class="compared">
        <thead>
          <tr>
            <th scope="col" class="right">
              {t("value")}
            </th>
            <th scope="col">{t("point")}</th>
            <th scope="col">{t("shareOfRuns")}</th>
          </tr>
        </thead>
        <tbody>
          {found.minima.slice(0, 30).map((each) => (
            <tr key={String(each.point)}>
              <td class="right num">{short(asNumber(each.value))}</td>
              <td class="num">{pointWords(each.point)}</td>
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
    </Scrolled>
  );
}

function pointWords(point: readonly number[]): string {
  const first = point.slice(0, 4).map((x) => short(tidy(x), 3));
  return `(${first.join(", ")}${point.length > 4 ? ", …" : ""})`;
}

/** What is nought but for rounding is shown as 0. */
const tidy = (x: number): number => (Math.abs(x) < 1e-12 ? 0 : x);

export function Importance({ study }: { study: Study }) {
  const found = (
    study.result as { importance?: { importance: Record<string, number> | null } } | null
  )?.importance?.importance;
  const shares = Object.entries(found ?? {}).sort((a, b) => b[1] - a[1]);
  if (shares.length < 2) return null;
  return (
    <section class="card" aria-label={t("importance")}>
      <h2>{t("importance")}</h2>
      <table class="small-table shares">
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
export function Runs({ runs }: { runs: readonly StudyRun[] }) {
  const [most, setMost] = useState(20);
  const words = useMemo(() => wordsFor(runs), [runs]);
  if (!runs.length) return null;
  return (
    <Scrolled label={t("runs")}>
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
                <StatusPill
                  status={run.stopped ? "stopped_early" : run.status}
                  outcome={run.outcome}
                />
              </td>
              <td>{nameOf(run.params as Record<string, unknown>, words)}</td>
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
    </Scrolled>
  );
}
