/** The latest studies, above the list of jobs; nothing where there are none. */
import { useEffect, useState } from "preact/hooks";
import { get, ROOT } from "../api/client";
import type { ListedStudy, StudyPage } from "../api/types";
import { now } from "../app/clock";
import { t } from "../i18n";
import { ago, count, moment } from "../ui/format";
import { ProgressBar, StatusPill } from "../ui/status";

const SHOWN = 5;
const REFRESH_MS = 5_000;

export function StudyList() {
  const [studies, setStudies] = useState<ListedStudy[]>([]);
  const isRunning = studies.some((each) => each.finished_at === null);
  useEffect(() => {
    const stop = new AbortController();
    const load = (): Promise<void> =>
      get<StudyPage>(`/v1/studies?limit=${SHOWN}`, stop.signal).then(
        (page) => setStudies(page.data),
        () => {}, // the list of jobs says what is wrong
      );
    void load();
    const timer = isRunning ? setInterval(() => void load(), REFRESH_MS) : undefined;
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [isRunning]);
  if (!studies.length) return null;
  return (
    <section class="studies" aria-label={t("studies")}>
      <h2>{t("studies")}</h2>
      <ul>
        {studies.map((each) => (
          <li key={each.id}>
            <StatusPill status={each.status} />
            <a href={`${ROOT}/studies/${each.id}`}>
              {each.name ?? <span class="mono">{each.id}</span>}
            </a>
            {each.finished_at === null && (
              <ProgressBar fraction={each.progress.fraction} label={t("progress")} />
            )}
            <span class="num muted">
              {t("runsDone", {
                n: count(each.progress.num_finished_runs),
                total: count(each.progress.num_runs),
              })}
            </span>
            <span class="spacer" />
            <time class="muted" dateTime={each.created_at} title={moment(each.created_at)}>
              {ago(each.created_at, now.value)}
            </time>
          </li>
        ))}
      </ul>
    </section>
  );
}
