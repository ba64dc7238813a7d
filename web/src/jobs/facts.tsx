/** What else is known of a job: attempts, timeline, checkpoints, use of the machine, the spec. */
import { useEffect, useState } from "preact/hooks";
import { download, get, post, ROOT } from "../api/client";
import { write } from "../api/json";
import { persist } from "../api/persist";
import type { Checkpoint, CheckpointPage, Job, Rows } from "../api/types";
import { notify, tell } from "../app/notices";
import { Chart } from "../charts/chart";
import { Columns } from "../charts/columns";
import { named, t } from "../i18n";
import { asNumber, bytes, count, moment, seconds, short, shown } from "../ui/format";
import { WriteButton } from "../ui/write-button";
import { type JobRows, upToDate } from "./rows";
import { bestOf } from "./words";

export function Figures({ job: last, rows }: { job: Job; rows: JobRows | null }) {
  const job = upToDate(last, rows);
  const { result, usage } = job;
  const best = bestOf(job);
  const bestName =
    best && best.series !== "loss" ? `${t("best")} · ${named("series", best.series)}` : t("best");
  const evals = Object.entries(result?.eval ?? {}).filter(
    ([name, value]) => name !== "step" && name !== "loss" && !Array.isArray(value),
  );
  const figures: [string, string][] = [
    [t("loss"), short(asNumber(result?.final_loss ?? job.latest?.loss))],
    [bestName, best ? short(best.value) : "–"],
    [t("stepsDone"), count(job.progress.step)],
    ...evals.map(([name, value]): [string, string] => [
      named("series", `eval.${name}`),
      shown(value),
    ]),
    [t("trainTime"), seconds(asNumber(result?.train_s))],
    [t("parameters"), result?.num_parameters ? count(result.num_parameters) : "–"],
    [t("memory"), bytes(usage?.peak_memory_bytes)],
  ];
  if (result?.solution) figures.push([t("solution"), solutionWords(result.solution)]);
  return (
    <dl class="figures">
      {figures.filter(isKnown).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="num">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const isKnown = ([, value]: [string, string]): boolean => value !== "–";

function solutionWords(solution: NonNullable<NonNullable<Job["result"]>["solution"]>): string {
  if (Array.isArray(solution)) return shown(solution);
  const named = Object.entries(solution).map(([name, value]) => `${name} ${shown(value)}`);
  return named.slice(0, 4).join(", ") + (named.length > 4 ? ", …" : "");
}

export function Attempts({ job }: { job: Job }) {
  return (
    <section class="card">
      <h2>{t("history")}</h2>
      {job.attempts.length > 0 && (
        <table class="small-table">
          <thead>
            <tr>
              <th scope="col">{t("attempt")}</th>
              <th scope="col">{t("worker")}</th>
              <th scope="col">{t("device")}</th>
              <th scope="col">{t("end")}</th>
            </tr>
          </thead>
          <tbody>
            {job.attempts.map((each) => (
              <tr key={each.number}>
                <td class="num">{each.number}</td>
                <td class="mono">{each.worker}</td>
                <td class="mono">{each.device ?? "–"}</td>
                <td>{each.end ? named("attempt", each.end) : t("underWay")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <ol
        class="timeline"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by keyboard
        tabIndex={0}
        aria-label={t("history")}
      >
        {job.timeline.map((entry, i) => (
          <li key={i}>
            <time class="num" dateTime={entry.at} title={moment(entry.at)}>
              {sinceStart(job, entry.at)}
            </time>
            <span>
              {named("event", entry.event)} <span class="muted">{detailWords(entry)}</span>
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function detailWords({ event, detail }: Job["timeline"][number]): string {
  if (!detail) return "";
  if (event === "phase") return named("phase", detail);
  return event === "ended" ? named("status", detail) : detail;
}

const sinceStart = (job: Job, at: string): string =>
  `+${seconds(Math.max(0, (Date.parse(at) - Date.parse(job.created_at)) / 1000))}`;

export function Checkpoints({ job }: { job: Job }) {
  const [found, setFound] = useState<Checkpoint[] | null>(null);
  const isRunning = job.status === "running";
  useEffect(() => {
    const stop = new AbortController();
    const path = `/v1/jobs/${job.id}/checkpoints?limit=200`;
    persist(
      () => get<CheckpointPage>(path, stop.signal),
      stop.signal,
      () => {},
    ).then(
      (page) => setFound(page.data),
      () => stop.signal.aborted || setFound([]),
    );
    return () => stop.abort();
  }, [job.id, job.status]);
  const keep = async (): Promise<void> => {
    try {
      await post(`/v1/jobs/${job.id}/checkpoints`);
      notify(t("checkpointAsked"));
    } catch (error) {
      tell(error);
    }
  };
  const weights = (found ?? []).filter((each) =>
    ["final", "best", "initial", "raw"].includes(each.name),
  );
  const others = (found ?? []).length - weights.length;
  if (!weights.length && !isRunning && !others) return null;
  return (
    <section class="card">
      <h2>{t("checkpoints")}</h2>
      {weights.length > 0 && (
        <table class="small-table">
          <tbody>
            {weights.map((each) => (
              <tr key={each.name}>
                <th scope="row">{named("checkpoint", each.name)}</th>
                <td class="num">{t("atStep", { n: count(each.step) })}</td>
                <td class="num right">{bytes(each.size_bytes)}</td>
                <td class="right">
                  <button
                    type="button"
                    class="link"
                    onClick={() =>
                      void download(
                        `/v1/jobs/${job.id}/model?checkpoint=${each.name}`,
                        `${job.id}-${each.name}.safetensors`,
                      ).catch(tell)
                    }
                  >
                    {t("download")}
                    <span class="hidden"> {named("checkpoint", each.name)}</span>
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {others > 0 && <p class="muted small">{t("resumePoints", { n: others })}</p>}
      {isRunning && <WriteButton onClick={() => void keep()}>{t("keepCheckpoint")}</WriteButton>}
    </section>
  );
}

const SYSTEM_EVERY_MS = 10_000;

/** What the process that trains has used, from the service's samples; nothing for a short run. */
export function Machine({ job }: { job: Job }) {
  const [columns, setColumns] = useState<Columns | null>(null);
  const isRunning = job.status === "running";
  useEffect(() => {
    const stop = new AbortController();
    const load = (): void => {
      get<Rows>(`/v1/jobs/${job.id}/history?kind=system&points=2000`, stop.signal).then(
        (rows) => {
          const made = new Columns("time_s");
          made.append(rows.series);
          setColumns(made);
        },
        () => void 0, // the samples are no more than a hint
      );
    };
    load();
    const timer = isRunning ? setInterval(load, SYSTEM_EVERY_MS) : undefined;
    return () => {
      clearInterval(timer);
      stop.abort();
    };
  }, [job.id, isRunning]);
  const x = columns?.get("time_s");
  if (x === undefined || x.length < 2) return null; // one sample is no curve
  const panels = [
    { name: "cpu_percent", format: (value: number) => `${short(value, 3)} %` },
    { name: "memory_bytes", format: (value: number) => bytes(value, 4) },
    { name: "device_percent", format: (value: number) => `${short(value, 3)} %` },
    { name: "device_memory_bytes", format: (value: number) => bytes(value, 4) },
  ];
  return (
    <section class="card">
      <h2>
        {t("machine")} <span class="muted">· {named("axis", "time_s")}</span>
      </h2>
      {panels.map(({ name, format }) => {
        const y = columns?.get(name);
        if (!y?.some(Number.isFinite)) return null;
        const title = named("series", name);
        return (
          <Chart
            key={name}
            title={title}
            axisName={named("axis", "time_s")}
            lines={[{ key: name, label: title, colour: "c3", x, y }]}
            flags={[]}
            scale="linear"
            range={null}
            height={140}
            format={format}
          />
        );
      })}
    </section>
  );
}

export function Spec({ job }: { job: Job }) {
  const text = write(job.spec, 2);
  return (
    <section class="card">
      <div class="card-head">
        <h2>{t("spec")}</h2>
        <span class="row">
          <button
            type="button"
            class="quiet"
            onClick={() =>
              navigator.clipboard.writeText(text).then(
                () => notify(t("copied")),
                () => notify(t("notCopied"), true),
              )
            }
          >
            {t("copy")}
          </button>
          <a class="button" href={`${ROOT}/jobs?from=${job.id}`}>
            {t("cloneAndEdit")}
          </a>
        </span>
      </div>
      <section
        class="code"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by keyboard
        tabIndex={0}
        aria-label={t("spec")}
      >
        <pre>{text}</pre>
      </section>
    </section>
  );
}
