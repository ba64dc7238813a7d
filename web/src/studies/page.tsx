/** One study: the dial, the curves behind it, the comparison, the minima, the runs. */
import { useEffect, useMemo } from "preact/hooks";
import { ApiError, download, post, ROOT, withQuery } from "../api/client";
import type { Study, StudyComparison } from "../api/types";
import { tell } from "../app/notices";
import { t } from "../i18n";
import { Coded } from "../ui/coded";
import { Failure, FailureWords } from "../ui/failure";
import { asNumber, count, seconds } from "../ui/format";
import { Said } from "../ui/said";
import { ProgressBar, StatusPill } from "../ui/status";
import { WriteButton } from "../ui/write-button";
import { nameOf, wordsFor } from "./dial";
import { Pictures } from "./pictures";
import { reasonInChinese } from "./said";
import { Configurations, Importance, Minima, Profile, Runs } from "./tables";
import { WatchedStudy } from "./watched";

export function StudyView({ id }: { id: string }) {
  const watched = useMemo(() => new WatchedStudy(id), [id]);
  useEffect(() => () => watched.close(), [watched]);
  const study = watched.study.value;
  useEffect(() => {
    document.title = `${study?.name ?? id} · Thalweg`;
  });
  const error = watched.error.value;
  const isGone = error instanceof ApiError && error.status === 404;
  if (error !== null && (isGone || !study)) {
    return <Failure error={error} missing={t("noSuchStudy")} />;
  }
  if (!study) return <p class="empty">{t("loading")}</p>;
  return (
    <article class="compare study">
      <Head study={study} onChange={(next) => (watched.study.value = next)} />
      {error !== null && (
        <div class="banner bad" role="alert">
          <FailureWords error={error} />
        </div>
      )}
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
    <WriteButton
      onClick={() => void post<Study>(`/v1/studies/${study.id}/${name}`).then(onChange, tell)}
    >
      {t(name)}
    </WriteButton>
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
          <Coded text={study.error.message} />
        </p>
      )}
      {study.warnings.map((each) => (
        <p key={each.message} class="banner warn" lang="en">
          <Coded text={each.message} />
        </p>
      ))}
    </header>
  );
}

/** What the study says, aloud: who won, or that nobody did, and why. */
function Answer({ comparison }: { comparison: StudyComparison }) {
  const { winner, leader, reason, configurations, complete } = comparison;
  const of = (number: number | null) =>
    configurations.find((each) => each.configuration === number) ?? null;
  const words = useMemo(() => wordsFor(configurations), [configurations]);
  const won = of(winner);
  const leads = of(leader);
  return (
    <section class={`card answer ${won ? "won" : "open"}`} aria-label={t("answer")}>
      <p class="answer-word">
        {won
          ? t("winnerIs", { name: nameOf(won.params, words) })
          : complete
            ? t("noWinner")
            : t("noWinnerYet")}
      </p>
      {!won && leads && <p>{t("leaderIs", { name: nameOf(leads.params, words) })}</p>}
      <Said
        class="muted"
        english={reason}
        chinese={reasonInChinese(comparison, (params) => nameOf(params, words))}
      />
    </section>
  );
}
