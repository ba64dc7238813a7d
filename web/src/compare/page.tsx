/** Several jobs beside each other: their curves, what differs, and what it made of them. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, download, hasKey, ROOT, save, withQuery } from "../api/client";
import type { JobComparison } from "../api/types";
import { notify, tell } from "../app/notices";
import { go, query, setQuery } from "../app/router";
import { Chart } from "../charts/chart";
import type { Range } from "../charts/plot";
import { chosenScale, ScaleChoice } from "../charts/scale-choice";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { Failure, FailureWords } from "../ui/failure";
import { asNumber, count, digitsFor, seconds, short, shown } from "../ui/format";
import { Scrolled } from "../ui/scrolled";
import { StatusPill, VerdictWord } from "../ui/status";
import { type Asked, type Axis, Compared, comparisonQuery, POINTS } from "./compared";
import {
  bandsOf,
  csvOf,
  differences,
  linesOf,
  metricsOf,
  percent,
  type styleOf,
  stylesOf,
} from "./curves";

const AXES: readonly Axis[] = ["step", "epoch", "time_s"];
const oneOf = <T extends string>(value: string | null, of: readonly T[]): T | null =>
  of.find((each) => each === value) ?? null;

function asked(): Asked {
  const all = query.value;
  return {
    job: [...new Set(all.getAll("job"))],
    label: [...new Set(all.getAll("label"))],
    baseline: all.get("baseline"),
    x: oneOf(all.get("x"), AXES) ?? "step",
  };
}

export function ComparePage() {
  const of = asked();
  useEffect(() => {
    document.title = `${t("compare")} · Thalweg`;
  });
  if (of.label.length || of.job.length > 1) return <Comparison of={of} />;
  return (
    <div class="empty">
      <h1>{t("compare")}</h1>
      <p>{t("compareHow")}</p>
      <a href={`${ROOT}/jobs`}>{t("toTheJobs")}</a>
    </div>
  );
}

function Comparison({ of }: { of: Asked }) {
  const form = comparisonQuery(of);
  const compared = useMemo(() => new Compared(of), [form]);
  useEffect(() => () => compared.close(), [compared]);
  const [last, setLast] = useState<JobComparison | null>(null);
  const now = compared.found.value;
  useEffect(() => {
    if (now) setLast(now);
  }, [now]);
  const error = compared.error.value;
  const found = now ?? last; // the old one stays until the new one is here
  if (!found && error === null) return <p class="empty">{t("loading")}</p>;
  if (!found) {
    return (
      <Failure error={error}>
        <WaysOut error={error} of={of} />
      </Failure>
    );
  }
  return (
    <>
      {error !== null && (
        <div class="banner bad" role="alert">
          <FailureWords error={error} />
          <WaysOut error={error} of={of} />
        </div>
      )}
      <View found={found} of={of} />
    </>
  );
}

/** What can be asked in place of what was refused: without jobs that are gone, by steps. */
function WaysOut({ error, of }: { error: unknown; of: Asked }) {
  if (!(error instanceof ApiError)) return null;
  const gone = error.status === 404 ? of.job.filter((id) => error.message.includes(id)) : [];
  const job = of.job.filter((id) => !gone.includes(id));
  const isBaseGone =
    error.status === 404 && of.baseline !== null && error.message.includes(of.baseline);
  const baseline = isBaseGone ? null : of.baseline;
  return (
    <p class="row">
      {(gone.length > 0 || isBaseGone) && (
        <button type="button" onClick={() => setQuery({ job, baseline })}>
          {t("takeOut")}
        </button>
      )}
      {error.status === 422 && of.x !== "step" && (
        <button type="button" onClick={() => setQuery({ x: null })}>
          {t("bySteps")}
        </button>
      )}
    </p>
  );
}

function View({ found, of }: { found: JobComparison; of: Asked }) {
  const metrics = metricsOf(found);
  const metric = oneOf(query.value.get("metric"), metrics) ?? "loss";
  const scale = chosenScale();
  const hasBands = found.groups.length > 0 && metric === "loss";
  const isBand = query.value.get("bands") === "1" && hasBands;
  const [range, setRange] = useState<Range | null>(null);
  useEffect(() => setRange(null), [of.x]);
  const lines = useMemo(
    () => (isBand ? bandsOf(found) : linesOf(found, metric)),
    [found, metric, isBand],
  );
  return (
    <article class="compare">
      <header class="head">
        <h1>{t("compareTitle", { n: found.jobs.length })}</h1>
        <span class="spacer" />
        <Exports found={found} of={of} metric={metric} />
      </header>
      <section class="card" aria-label={t("curves")}>
        {lines.some((line) => line.x.length) ? (
          <Chart
            title={`${named("series", metric)} – ${t("compareTitle", { n: found.jobs.length })}`}
            axisName={named("axis", found.axis)}
            lines={lines}
            flags={[]}
            scale={scale}
            range={range}
            onRange={setRange}
            note={t("commonAxis", { n: count((found.curves.x ?? []).length as number) })}
            height={360}
          >
            {hasBands && (
              <label class="inline">
                <input
                  type="checkbox"
                  checked={isBand}
                  onChange={() => setQuery({ bands: isBand ? null : "1" })}
                />
                {t("bands")}
              </label>
            )}
            <Choice
              word="curve"
              value={metric}
              options={metrics.map((each) => [each, named("series", each)])}
              onChange={(value) => setQuery({ metric: value })}
            />
            <Choice
              word="xAxis"
              value={of.x}
              options={AXES.map((each) => [each, named("axis", each)])}
              onChange={(value) => setQuery({ x: value })}
            />
            <ScaleChoice />
          </Chart>
        ) : (
          <p class="empty">{t("noRowsYet")}</p>
        )}
      </section>
      <Table found={found} metric={metric} isBand={isBand} />
      <Same found={found} />
    </article>
  );
}

function Table({
  found,
  metric,
  isBand,
}: Omit<RowProps, "job" | "paths" | "style"> & { isBand: boolean }) {
  const styles = stylesOf(found, isBand);
  const paths = differences(found).map((path) => {
    const values = found.jobs.filter((job) => path in job.differs).map((job) => job.differs[path]);
    return [path, digitsFor(values, shown)] as const;
  });
  return (
    <Scrolled label={t("compareTitle", { n: found.jobs.length })}>
      <table class="compared">
        <caption class="hidden">{t("compareTitle", { n: found.jobs.length })}</caption>
        <thead>
          <tr>
            <th scope="col">{t("baseline")}</th>
            <th scope="col">{t("job")}</th>
            <th scope="col">{t("state")}</th>
            <th scope="col">{t("verdict")}</th>
            <th scope="col" class="right">
              {named("series", metric)}: {t("last")}
            </th>
            <th scope="col" class="right">
              {t("best")}
            </th>
            <th scope="col" class="right">
              {t("atBestStep")}
            </th>
            <th scope="col" class="right">
              {t("stepsDone")}
            </th>
            <th scope="col" class="right">
              {t("trainTime")}
            </th>
            {paths.map(([path]) => (
              <th scope="col" key={path} class="mono">
                {path}
              </th>
            ))}
            <th scope="col">
              <span class="hidden">{t("takeOut")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {found.jobs.map((job) => {
            const style = styles.get(job.id)!;
            return (
              <Row
                key={job.id}
                found={found}
                job={job}
                style={style}
                metric={metric}
                paths={paths}
              />
            );
          })}
        </tbody>
      </table>
    </Scrolled>
  );
}

type RowProps = {
  found: JobComparison;
  job: JobComparison["jobs"][number];
  style: ReturnType<typeof styleOf>;
  metric: string;
  /** What differs, and the digits in which it does. */
  paths: readonly (readonly [string, number])[];
};

function Row({ found, job, style, metric, paths }: RowProps) {
  const value = job.metrics[metric];
  const isBase = found.baseline === job.id;
  const { colour, dash } = style;
  const name = job.name ?? job.id;
  const [final, best] = [asNumber(value?.final), asNumber(value?.best)];
  return (
    <tr class={isBase ? "is-base" : ""}>
      <td>
        <input
          type="radio"
          name="baseline"
          checked={isBase}
          onClick={() => setQuery({ baseline: isBase ? null : job.id })}
          aria-label={t("asBaseline", { name })}
        />
      </td>
      <td>
        <svg width="22" height="8" aria-hidden="true" class="key">
          <line
            x1="0"
            y1="4"
            x2="22"
            y2="4"
            stroke={`var(--${colour})`}
            stroke-width="2.5"
            stroke-dasharray={dash?.join(" ")}
          />
        </svg>{" "}
        <a href={`${ROOT}/jobs/${job.id}`}>{job.name ?? <span class="mono">{job.id}</span>}</a>
      </td>
      <td>
        <StatusPill status={job.status} outcome={job.outcome} />
      </td>
      <td>{job.verdict && <VerdictWord verdict={job.verdict} />}</td>
      <td class="right num">
        {short(final)}
        {value?.change && !isBase && final !== null && (
          <Change goal={value.goal} value={final} change={asNumber(value.change.final)} />
        )}
      </td>
      <td class="right num">
        {short(best)}
        {value?.change && !isBase && best !== null && (
          <Change goal={value.goal} value={best} change={asNumber(value.change.best)} />
        )}
      </td>
      <td class="right num">{value?.best_step == null ? "–" : count(value.best_step)}</td>
      <td class="right num">{count(job.num_steps)}</td>
      <td class="right num">{seconds(asNumber(job.train_s))}</td>
      {paths.map(([path, digits]) => (
        <td key={path} class="mono">
          {path in job.differs ? shown(job.differs[path], digits) : "–"}
        </td>
      ))}
      <td>
        {found.jobs.length > 2 && (
          <button
            type="button"
            class="quiet icon"
            aria-label={t("takeOutThis", { name })}
            title={t("takeOutThis", { name })}
            onClick={() => setQuery({ ...without(found, job.id) })}
          >
            ×
          </button>
        )}
      </td>
    </tr>
  );
}

/** The query without one of the jobs; jobs of a label are named one by one from then on. */
function without(found: JobComparison, id: string): Record<string, string | string[] | null> {
  const job = found.jobs.map((each) => each.id).filter((each) => each !== id);
  return { job, label: null, ...(found.baseline === id ? { baseline: null } : {}) };
}

function Change({ goal, value, change }: { goal: string; value: number; change: number | null }) {
  if (change === null) return null;
  const isBetter = goal === "min" ? change < 0 : change > 0;
  const tone = change === 0 || Number.isNaN(change) ? "calm" : isBetter ? "good" : "bad";
  return <span class={`change tone-${tone}`}>{percentWords(value, change)}</span>;
}

function percentWords(value: number, change: number): string {
  if (change === 0) return "±0 %";
  const found = percent(value, change);
  if (found === null) return change > 0 ? `+${short(change, 3)}` : short(change, 3);
  return `${found > 0 ? "+" : ""}${short(found, 3)} %`;
}

function Same({ found }: { found: JobComparison }) {
  const paths = Object.entries(found.same);
  return (
    <details class="card">
      <summary>{t("sameParts", { n: paths.length })}</summary>
      <dl class="same">
        {paths.map(([path, value]) => (
          <div key={path}>
            <dt class="mono">{path}</dt>
            <dd class="mono">{shown(value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function Exports({ found, of, metric }: { found: JobComparison; of: Asked; metric: string }) {
  const path = (format: string): string =>
    withQuery("/v1/comparison/plot", { ...of, points: POINTS, metric, format });
  const copy = (text: string): void =>
    void navigator.clipboard.writeText(text).then(
      () => notify(t("copied")),
      () => notify(t("notCopied"), true),
    );
  return (
    <span class="row actions">
      {(["png", "svg"] as const).map((format) => (
        <button
          key={format}
          type="button"
          onClick={() => void download(path(format), `comparison.${format}`).catch(tell)}
        >
          {format.toUpperCase()}
        </button>
      ))}
      <button
        type="button"
        onClick={() =>
          save(new Blob([csvOf(found, metric)], { type: "text/csv" }), "comparison.csv")
        }
      >
        CSV
      </button>
      <button type="button" onClick={() => copy(curlOf(of))}>
        {t("copyCurl")}
      </button>
      <button type="button" onClick={() => copy(pythonOf(of))}>
        {t("copyPython")}
      </button>
      <button type="button" class="quiet" onClick={() => go("/jobs")}>
        {t("addJobs")}
      </button>
    </span>
  );
}

/** The call in a shell. The key is named, and never written out. */
export function curlOf(of: Asked): string {
  const key = hasKey() ? ' -H "Authorization: Bearer $THALWEG_KEY"' : "";
  return `curl -s${key} '${location.origin}${ROOT}${comparisonQuery(of)}'`;
}

/** The call in Python; the client takes address and key from its environment. */
export function pythonOf(of: Asked): string {
  const options = [
    of.label.length ? `label=${JSON.stringify(of.label)}` : JSON.stringify(of.job),
    ...(of.baseline ? [`baseline=${JSON.stringify(of.baseline)}`] : []),
    `x=${JSON.stringify(of.x)}`,
  ];
  return `from thalweg import Client\n\nwith Client("${location.origin}${ROOT}") as client:\n    print(client.compare(${options.join(", ")}))\n`;
}
