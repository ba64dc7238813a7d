/** The list of jobs. */
import { useEffect, useMemo } from "preact/hooks";
import { ROOT } from "../api/client";
import type { ListedJob } from "../api/types";
import { now } from "../app/clock";
import { query, remember, remembered, setQuery } from "../app/router";
import { TrayBox } from "../compare/tray";
import { named, t } from "../i18n";
import { StudyList } from "../studies/list";
import { Choice } from "../ui/choice";
import { FailureWords } from "../ui/failure";
import { ago, asNumber, count, moment, seconds, short } from "../ui/format";
import { memo } from "../ui/memo";
import { ProgressBar, StatusPill, VerdictWord } from "../ui/status";
import { Editor } from "./editor";
import { Examples } from "./examples";
import { filters, SINCE, STATUSES, VERDICTS, verdict } from "./filters";
import { ListedJobs, MOST, PAGE } from "./listed";
import { JobSpark } from "./spark";
import { bestOf, optimizerWords, problemWords, shortId, stepWords } from "./words";

export function JobList() {
  const search = query.value;
  if (["new", "from", "spec"].some((name) => search.has(name))) {
    const at = ["from", "spec"].map((name) => `${name}=${search.get(name) ?? ""}`).join("&");
    return <Editor key={at} from={search.get("from")} given={search.get("spec")} />;
  }
  return <List />;
}

function List() {
  const chosen = filters.value;
  const key = JSON.stringify(chosen);
  const listed = useMemo(() => new ListedJobs(chosen, countBefore(key)), [key]);
  useEffect(() => {
    const look = (): void => {
      if (!document.hidden) void listed.refresh();
    };
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      listed.close();
    };
  }, [listed]);
  useEffect(() => {
    document.title = `${t("jobs")} · Thalweg`;
  });
  const all = listed.jobs.value;
  const wanted = verdict.value;
  const jobs = wanted ? all.filter((job) => job.diagnosis?.verdict === wanted) : all;
  const isFiltered =
    chosen.status.length + chosen.label.length > 0 || chosen.since !== "" || wanted !== "";
  const isEmpty = listed.isLoaded.value && !jobs.length && !listed.error.value;
  return (
    <>
      <div class="head">
        <h1>{t("jobs")}</h1>
        <a class="button primary" href={`${ROOT}/jobs?new`}>
          {t("newJob")}
        </a>
      </div>
      {!isFiltered && <StudyList news={listed.studies.value} />}
      {!(isEmpty && !isFiltered) && <FilterBar />}
      {listed.error.value !== null && (
        <div class="banner bad" role="alert">
          <FailureWords error={listed.error.value} />
        </div>
      )}
      {isEmpty && isFiltered && listed.more.value === null && (
        <p class="empty">{t("nothingMatches")}</p>
      )}
      {isEmpty && !isFiltered && <Examples />}
      {wanted && listed.isLoaded.value && (
        <p class="muted small" role="status">
          {t("verdictOf", { n: count(jobs.length), total: count(all.length) })}
        </p>
      )}
      {jobs.length > 0 && <Table jobs={jobs} />}
      {listed.more.value !== null && (
        <p class="more">
          <button
            type="button"
            onClick={() => {
              remember("listed", { key, count: all.length + PAGE });
              void listed.load(listed.more.value);
            }}
          >
            {t("showMore")}
          </button>
        </p>
      )}
    </>
  );
}

/** How many jobs this list had when it was left, as far as one call gives them. */
function countBefore(key: string): number {
  const before = remembered("listed") as { key: string; count: number } | undefined;
  return before?.key === key ? Math.min(before.count, MOST) : PAGE;
}

function FilterBar() {
  const { status, label, since } = filters.value;
  return (
    <fieldset class="filters" aria-label={t("filters")}>
      <span class="chips">
        {STATUSES.map((each) => {
          const isOn = status.includes(each);
          const next = isOn ? status.filter((one) => one !== each) : [...status, each];
          return (
            <button
              key={each}
              type="button"
              class="chip"
              aria-pressed={isOn}
              onClick={() => setQuery({ status: next })}
            >
              {named("status", each)}
            </button>
          );
        })}
      </span>
      <label class="inline">
        <span class="muted">{t("created")}</span>
        <select value={since} onChange={(e) => setQuery({ since: e.currentTarget.value || null })}>
          <option value="">{t("anyTime")}</option>
          {Object.keys(SINCE).map((each) => (
            <option key={each} value={each}>
              {named("since", each)}
            </option>
          ))}
        </select>
      </label>
      <Choice
        word="verdict"
        value={verdict.value}
        options={[
          ["", t("anyVerdict")],
          ...VERDICTS.map((each) => [each, named("verdict", each)] as const),
        ]}
        onChange={(value) => setQuery({ verdict: value || null })}
      />
      <form
        class="inline"
        onSubmit={(event) => {
          event.preventDefault();
          const field = event.currentTarget.elements.namedItem("label") as HTMLInputElement;
          if (field.value.includes(":")) setQuery({ label: [...label, field.value.trim()] });
          field.value = "";
        }}
      >
        <input
          name="label"
          aria-label={t("label")}
          placeholder={t("labelHint")}
          pattern="[^:]+:.*"
          title={t("labelHint")}
        />
      </form>
      {label.map((each) => (
        <button
          key={each}
          type="button"
          class="chip"
          aria-pressed="true"
          onClick={() => setQuery({ label: label.filter((one) => one !== each) })}
        >
          {each} ×
        </button>
      ))}
    </fieldset>
  );
}

function Table({ jobs }: { jobs: readonly ListedJob[] }) {
  return (
    <table class="jobs">
      <thead>
        <tr>
          <th scope="col">
            <span class="hidden">{t("compare")}</span>
          </th>
          <th scope="col">{t("state")}</th>
          <th scope="col">{t("job")}</th>
          <th scope="col" class="c-opt">
            {t("optimizer")}
          </th>
          <th scope="col">{t("verdict")}</th>
          <th scope="col">{t("loss")}</th>
          <th scope="col" class="right">
            {t("best")}
          </th>
          <th scope="col">{t("progress")}</th>
          <th scope="col" class="right">
            {t("age")}
          </th>
        </tr>
      </thead>
      <tbody>
        {jobs.map((job) => (
          <JobRow key={job.id} job={job} />
        ))}
      </tbody>
    </table>
  );
}

const JobRow = memo(function JobRow({ job }: { job: ListedJob }) {
  const { progress, diagnosis } = job;
  const best = bestOf(job);
  const labels = Object.entries(job.labels);
  return (
    <tr>
      <td class="c-box">
        <TrayBox id={job.id} name={job.name || problemWords(job.spec)} />
      </td>
      <td class="c-state">
        <StatusPill status={job.status} outcome={job.outcome} phase={job.phase} />
      </td>
      <td class="c-job">
        <a class="row-link" href={`${ROOT}/jobs/${job.id}`} title={job.id}>
          {job.name || problemWords(job.spec)}
        </a>
        <span class="sub">
          {job.name ? (
            <span>{problemWords(job.spec)}</span>
          ) : (
            <span class="mono">{shortId(job.id)}</span>
          )}
          <span class="sub-opt">{optimizerWords(job.spec)}</span>
          {labels.slice(0, 3).map(([name, value]) => (
            <span key={name} class="tag">
              {name}:{value}
            </span>
          ))}
        </span>
      </td>
      <td class="c-opt">{optimizerWords(job.spec)}</td>
      <td class="c-verdict">{diagnosis && <VerdictWord verdict={diagnosis.verdict} />}</td>
      <td class="c-spark">
        <JobSpark job={job} />
        <span class="num spark-value">{lossWords(job)}</span>
      </td>
      <td class="c-best right num">
        {best && short(best.value)}
        {best && best.series !== "loss" && <span class="sub">{named("series", best.series)}</span>}
      </td>
      <td class="c-progress">
        {job.finished_at === null ? (
          <>
            <ProgressBar fraction={progress.fraction} label={t("progress")} />
            <span class="sub num">
              {job.status === "queued" && progress.waiting_for
                ? named("wait", progress.waiting_for)
                : stepWords(job)}
              {progress.eta_s !== null && ` · ${seconds(asNumber(progress.eta_s))}`}
            </span>
          </>
        ) : (
          <span class="num">{t("steps", { n: stepWords(job).split(" /")[0]! })}</span>
        )}
      </td>
      <td class="c-age right">
        <Age at={job.created_at} />
      </td>
    </tr>
  );
});

/** Alone in its component: only it is drawn each second. */
const Age = ({ at }: { at: string }) => (
  <time dateTime={at} title={moment(at)}>
    {ago(at, now.value)}
  </time>
);

function lossWords(job: ListedJob): string {
  const loss = job.latest?.loss;
  return loss === undefined ? "" : short(asNumber(loss));
}
