/** The latest studies, above the list of jobs; nothing where there are none. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, ROOT, withQuery } from "../api/client";
import { persist } from "../api/persist";
import type { ListedStudy, StudyPage } from "../api/types";
import { now } from "../app/clock";
import { remember, remembered } from "../app/router";
import { t } from "../i18n";
import { ago, count, moment } from "../ui/format";
import { ProgressBar, StatusPill } from "../ui/status";

const SHOWN = 5;
const MORE = 20;
/** As many as one call gives. */
const MOST = 200;
const REFRESH_MS = 1_000;

/** `news`: changes with every word of the stream on a study. */
export function StudyList({ news }: { news: number }) {
  const [page, setPage] = useState<StudyPage | null>(null);
  const [limit, setLimit] = useState(() => Number(remembered("studies") ?? SHOWN));
  const asked = useRef({ at: 0, limit });
  const stop = useMemo(() => new AbortController(), []);
  useEffect(() => () => stop.abort(), [stop]);
  useEffect(() => {
    const load = (): Promise<StudyPage> =>
      get<StudyPage>(withQuery("/v1/studies", { limit }), stop.signal);
    const isOther = limit !== asked.current.limit;
    const wait = isOther ? 0 : Math.max(0, asked.current.at + REFRESH_MS - Date.now());
    const timer = setTimeout(() => {
      asked.current = { at: Date.now(), limit };
      void persist(load, stop.signal, () => {}).then(
        (found) => asked.current.limit === limit && setPage(found),
        () => {}, // the list of jobs says what is wrong
      );
    }, wait);
    return () => clearTimeout(timer);
  }, [news, limit]);
  const studies: ListedStudy[] = page?.data ?? [];
  if (!studies.length) return null;
  const showMore = (): void => {
    const next = Math.min(limit + MORE, MOST);
    remember("studies", next);
    setPage({ ...page!, has_more: false });
    setLimit(next);
  };
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
      {page?.has_more && limit < MOST && (
        <p class="more">
          <button type="button" onClick={showMore}>
            {t("showMoreStudies")}
          </button>
        </p>
      )}
    </section>
  );
}
