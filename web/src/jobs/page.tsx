/** One job: its curves while it trains, what is wrong with it, and what can be done. */
import { batch, type Signal, signal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ApiError, change, get, post, ROOT, wantsKey } from "../api/client";
import { persist } from "../api/persist";
import { follow, type StreamEvent } from "../api/stream";
import type { Diagnosis, History, Job } from "../api/types";
import { notify, tell } from "../app/notices";
import { go } from "../app/router";
import { toggle, tray, untray } from "../compare/tray";
import { named, t } from "../i18n";
import { Coded } from "../ui/coded";
import { Failure, FailureWords } from "../ui/failure";
import { asNumber, count, moment, seconds, short } from "../ui/format";
import { ProgressBar, StatusPill } from "../ui/status";
import { WriteButton } from "../ui/write-button";
import { Curves } from "./curves";
import { Attempts, Checkpoints, Figures, Machine, Spec } from "./facts";
import { HeldOut } from "./held-out";
import { Predict } from "./predict";
import { JobRows, upToDate } from "./rows";
import { BeforeAfter, Verdict } from "./verdict";
import { optimizerWords, problemWords, stepWords, titleOf } from "./words";

/** A job that is looked at, with its rows and those of the job that it comes from. */
class Watched {
  readonly job = signal<Job | null>(null);
  readonly error = signal<unknown>(null);
  readonly rows: Signal<JobRows | null> = signal(null);
  readonly parent: Signal<JobRows | null> = signal(null);
  private readonly stop = new AbortController();
  private end: (() => void) | null = null;

  constructor(readonly id: string) {
    void this.begin();
  }

  close(): void {
    this.stop.abort();
    this.end?.();
    this.rows.value?.close();
    this.parent.value?.close();
  }

  private async begin(): Promise<void> {
    const { signal: stop } = this.stop;
    const path = `/v1/jobs/${encodeURIComponent(this.id)}`;
    let job: Job;
    try {
      job = await persist(
        () => get<Job>(path, stop),
        stop,
        (error) => {
          this.error.value = error;
        },
      );
    } catch (error) {
      if (!this.stop.signal.aborted && !wantsKey(error)) this.error.value = error;
      return;
    }
    const rows = new JobRows(job.id, job.spec.problem.kind === "function");
    batch(() => {
      this.error.value = null;
      this.job.value = job;
      this.rows.value = rows;
    });
    await rows.load();
    if (this.stop.signal.aborted) return;
    if (job.parent_id) void this.loadParent(job.parent_id, job);
    if (job.finished_at === null) {
      const query = `series=${rows.series}&after=${rows.train.end}`;
      this.end = follow(
        `/v1/jobs/${job.id}/events?${query}`,
        (events) => this.take(events),
        (error) => {
          this.error.value = error;
        },
      );
    }
  }

  private async loadParent(id: string, job: Job): Promise<void> {
    const rows = new JobRows(id, job.spec.problem.kind === "function");
    await rows.load();
    if (rows.error.value === null && !this.stop.signal.aborted) this.parent.value = rows;
  }

  private take(events: StreamEvent[]): void {
    const rows = this.rows.value!;
    const points: History[] = [];
    batch(() => {
      for (const { type, data } of events) {
        if (type === "points") points.push(data as History);
        else if (type === "status" || type === "end") this.job.value = data as Job;
        else if (type === "diagnosis" && this.job.value) {
          this.job.value = { ...this.job.value, diagnosis: data as Diagnosis };
        }
      }
      if (points.length) rows.add(points);
    });
    if (events.some(({ type }) => type === "status" || type === "end")) void rows.catchUp();
  }
}

export function JobView({ id }: { id: string }) {
  const watched = useMemo(() => new Watched(id), [id]);
  useEffect(() => () => watched.close(), [watched]);
  const job = watched.job.value;
  useEffect(() => {
    document.title = `${job ? titleOf(job) : id} · Thalweg`;
  });
  const error = watched.error.value;
  const isGone = error instanceof ApiError && error.status === 404;
  if (error !== null && (isGone || !job)) return <Failure error={error} missing={t("noSuchJob")} />;
  if (!job) return <p class="empty">{t("loading")}</p>;
  return (
    <article class="job">
      <Head
        job={job}
        rows={watched.rows.value}
        onChange={(next) => (watched.job.value = next)}
        onGone={(why) => (watched.error.value = why)}
      />
      {error !== null && (
        <div class="banner bad" role="alert">
          <FailureWords error={error} />
        </div>
      )}
      <Notes job={job} />
      <Figures job={job} rows={watched.rows.value} />
      <div class="job-columns">
        <div class="job-main">
          <section class="card" aria-label={t("curves")}>
            <Curves job={job} rows={watched.rows.value!} parent={watched.parent.value} />
          </section>
          <HeldOut job={job} />
          <Machine job={job} />
          <Spec job={job} />
          <Attempts job={job} />
        </div>
        <div class="job-side">
          <BeforeAfter job={job} />
          <Verdict job={job} />
          <Predict job={job} />
          <Checkpoints job={job} />
        </div>
      </div>
    </article>
  );
}

type HeadProps = {
  job: Job;
  rows: JobRows | null;
  onChange: (job: Job) => void;
  /** Hears that there is no such job any more. */
  onGone: (why: unknown) => void;
};

function Head({ job, rows, onChange, onGone }: HeadProps) {
  return (
    <header class="job-head">
      <p class="crumbs">
        <a href={`${ROOT}/jobs`}>{t("jobs")}</a> / <span class="mono">{job.id}</span>
      </p>
      <div class="head">
        <h1>{titleOf(job)}</h1>
        <StatusPill status={job.status} outcome={job.outcome} phase={job.phase} />
        <span class="spacer" />
        <Actions job={job} onChange={onChange} onGone={onGone} />
      </div>
      <p class="sub">
        {job.name && <span>{problemWords(job.spec)}</span>}
        <span>{optimizerWords(job.spec)}</span>
        {Object.entries(job.labels).map(([name, value]) => (
          <span key={name} class="tag">
            {name}:{value}
          </span>
        ))}
        <span>
          {t("created")} <time dateTime={job.created_at}>{moment(job.created_at)}</time>
        </span>
      </p>
      {job.note && <p class="note">{job.note}</p>}
      {job.finished_at === null && <Progress job={job} rows={rows} />}
    </header>
  );
}

/** Alone in its component, as figures are: only they are drawn with every row. */
function Progress({ job, rows }: Pick<HeadProps, "job" | "rows">) {
  const now = upToDate(job, rows);
  const { progress } = now;
  return (
    <p class="job-progress">
      <ProgressBar fraction={progress.fraction} label={t("progress")} />
      <span class="num">
        {job.status === "queued" && progress.waiting_for
          ? named("wait", progress.waiting_for)
          : stepWords(now)}
        {progress.steps_per_s !== null &&
          ` · ${t("stepsPerSecond", { n: speed(asNumber(progress.steps_per_s) ?? 0) })}`}
        {progress.eta_s !== null && ` · ${t("left", { s: seconds(asNumber(progress.eta_s)) })}`}
      </span>
    </p>
  );
}

const speed = (rate: number): string => (rate < 100 ? short(rate, 2) : count(Math.round(rate)));

function Notes({ job }: { job: Job }) {
  return (
    <>
      {job.error && (
        <p class="banner bad" role="alert" lang="en">
          <b class="mono">{job.error.code}</b> <Coded text={job.error.message} />
        </p>
      )}
      {(job.warnings ?? []).map((each) => (
        <p key={each.message} class="banner warn" lang="en">
          <Coded text={each.message} />
        </p>
      ))}
    </>
  );
}

/** What can be done with the job as it stands. */
function Actions({ job, onChange, onGone }: Omit<HeadProps, "rows">) {
  const [isBusy, setBusy] = useState(false);
  const [isContinuing, setContinuing] = useState(false);
  const act = async (call: () => Promise<void>): Promise<void> => {
    setBusy(true);
    await call().catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) onGone(error);
      else tell(error);
    });
    setBusy(false);
  };
  const move = (name: "pause" | "resume" | "cancel") => (
    <WriteButton
      disabled={isBusy}
      onClick={() => void act(async () => onChange(await post<Job>(`/v1/jobs/${job.id}/${name}`)))}
    >
      {t(name)}
    </WriteButton>
  );
  const isOver = job.finished_at !== null;
  const remove = async (): Promise<void> => {
    if (!confirm(t("deleteSure"))) return;
    await change("DELETE", `/v1/jobs/${job.id}`);
    untray(job.id);
    notify(t("deleted"));
    go("/jobs");
  };
  const { status } = job;
  return (
    <span class="row actions">
      {job.pause_requested_at && status === "running" && <span class="muted">{t("pausing")}</span>}
      {(status === "queued" || status === "running") && !job.pause_requested_at && move("pause")}
      {(status === "paused" || (status === "running" && job.pause_requested_at)) && move("resume")}
      {["queued", "running", "paused"].includes(status) && move("cancel")}
      {isOver && canContinue(job) && (
        <WriteButton onClick={() => setContinuing(!isContinuing)} aria-expanded={isContinuing}>
          {t("continue")}
        </WriteButton>
      )}
      {isContinuing && <Continue job={job} act={act} isBusy={isBusy} />}
      <button
        type="button"
        aria-pressed={tray.value.includes(job.id)}
        onClick={() => toggle(job.id)}
      >
        {t(tray.value.includes(job.id) ? "unmark" : "mark")}
      </button>
      <a class="button" href={`${ROOT}/jobs?from=${job.id}`}>
        {t("cloneAndEdit")}
      </a>
      {isOver && (
        <WriteButton class="quiet danger" disabled={isBusy} onClick={() => void act(remove)}>
          {t("delete")}
        </WriteButton>
      )}
    </span>
  );
}

/** Whether a run that has ended has left a point to go on from. */
const canContinue = ({ status, outcome, progress }: Job): boolean =>
  status !== "failed" && outcome !== "diverged" && progress.step > 0;

type ContinueProps = {
  job: Job;
  act: (call: () => Promise<void>) => Promise<void>;
  isBusy: boolean;
};

function Continue({ job, act, isBusy }: ContinueProps) {
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        const field = event.currentTarget.elements.namedItem("steps") as HTMLInputElement;
        const budget = { max_steps: Number(field.value) };
        void act(async () => {
          const child = await post<Job>(`/v1/jobs/${job.id}/continue`, { budget });
          go(`/jobs/${child.id}`);
        });
      }}
    >
      <label class="inline">
        {t("toStep")}
        <input
          name="steps"
          type="number"
          min={job.progress.step + 1}
          defaultValue={String(2 * Math.max(1, job.progress.step))}
          required
        />
      </label>
      <WriteButton type="submit" class="primary" disabled={isBusy}>
        {t("start")}
      </WriteButton>
    </form>
  );
}
