/** A job's small curve, fetched once its row is seen, and again as it trains. Of jobs that ended the
 * others are fetched too, when those that are seen are there: paper shows all rows. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api/client";
import { paused } from "../api/stream";
import type { ListedJob, Rows } from "../api/types";
import { Columns } from "../charts/columns";
import { Sparkline } from "../charts/sparkline";
import { t } from "../i18n";
import { count } from "../ui/format";

const POINTS = 60;
const EVERY_MS = 2_000;
const AT_ONCE = 4;
const UNSEEN_AFTER_MS = 1_500;
let numRunning = 0;
const waiting: (() => void)[] = [];

/** Have at most a few of these calls under way. */
async function inTurn<T>(call: () => Promise<T>): Promise<T> {
  if (numRunning >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  numRunning++;
  try {
    return await call();
  } finally {
    numRunning--;
    waiting.shift()?.();
  }
}

export function JobSpark({ job }: { job: ListedJob }) {
  const place = useRef<HTMLSpanElement>(null);
  const [isSeen, setSeen] = useState(false);
  const [y, setY] = useState<Float64Array | null>(null);
  const [isDue, setDue] = useState(false);
  const fetchedAt = useRef(0);
  const isOver = job.finished_at !== null;
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setSeen(entry!.isIntersecting));
    observer.observe(place.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => setDue(true), UNSEEN_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);
  const isWanted = isSeen || (isOver && isDue);
  useEffect(() => {
    if (!isWanted || paused.value || job.latest === null) return;
    const wait = isOver ? 0 : Math.max(0, fetchedAt.current + EVERY_MS - Date.now());
    const stop = new AbortController();
    const timer = setTimeout(() => {
      fetchedAt.current = Date.now();
      const path = `/v1/jobs/${job.id}/history?series=loss&points=${POINTS}`;
      inTurn(() => get<Rows>(path, stop.signal)).then(
        (rows) => {
          const columns = new Columns("step");
          columns.append(rows.series);
          setY(columns.get("loss") ?? new Float64Array());
        },
        () => void 0, // the row tells the rest; the next change asks again
      );
    }, wait);
    return () => {
      clearTimeout(timer);
      if (!isOver) stop.abort();
    };
  }, [isWanted, isOver, isOver ? 0 : job.latest?.step, paused.value]);
  return (
    <span ref={place} class="spark-place">
      {y !== null && y.length > 0 && (
        <Sparkline y={y} label={t("sparkLabel", { n: count(y.length) })} />
      )}
    </span>
  );
}
