/** A study that is looked at: its record, its comparison, the curves of its runs. */
import { batch, signal } from "@preact/signals";
import { ApiError, get, wantsKey, withQuery } from "../api/client";
import { persist } from "../api/persist";
import { follow, type StreamEvent } from "../api/stream";
import type { History, Study, StudyComparison, StudyRun, StudyRunPage } from "../api/types";
import { Columns } from "../charts/columns";

/** Runs whose curves are drawn before one is pointed at: the best ones. */
const CURVES = 48;
const POINTS = 400;
const PAGE = 1_000;
const MOST_RUNS = 10_000;
const REFRESH_MS = 1_500;
const AT_ONCE = 6;

export class WatchedStudy {
  readonly study = signal<Study | null>(null);
  readonly comparison = signal<StudyComparison | null>(null);
  readonly runs = signal<StudyRun[]>([]);
  readonly error = signal<unknown>(null);
  /** Grows with every curve that comes. */
  readonly version = signal(0);
  readonly curves = new Map<number, Columns>();
  private readonly asked = new Set<number>();
  private readonly stop = new AbortController();
  private isLoading = false;
  private end: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly id: string) {
    void this.begin();
  }

  close(): void {
    this.stop.abort();
    clearTimeout(this.timer);
    this.end?.();
  }

  private get path(): string {
    return `/v1/studies/${encodeURIComponent(this.id)}`;
  }

  private async begin(): Promise<void> {
    await this.load();
    if (this.study.value && this.study.value.finished_at === null) {
      this.end = follow(
        `${this.path}/events`,
        (events) => this.take(events),
        (error) => {
          this.error.value = error;
        },
      );
    }
  }

  /** Load all anew; a failure that passes stands in `error` until it has. */
  private async load(): Promise<void> {
    this.isLoading = true;
    const { signal: stop } = this.stop;
    try {
      await persist(
        () => this.loadAll(stop),
        stop,
        (error) => {
          this.error.value = error;
        },
      );
    } catch (error) {
      if (!stop.aborted && !wantsKey(error)) this.error.value = error;
    }
    this.isLoading = false;
  }

  private async loadAll(stop: AbortSignal): Promise<void> {
    const study = await get<Study>(this.path, stop);
    const runs = await this.loadRuns(study.finished_at !== null);
    const comparison = await get<StudyComparison>(`${this.path}/comparison`, stop).catch(
      (error: unknown) => {
        if (error instanceof ApiError && error.status === 409) return null; // nothing has ended
        throw error;
      },
    );
    batch(() => {
      this.study.value = study;
      this.runs.value = runs;
      this.comparison.value = comparison;
      this.error.value = null;
    });
    void this.loadCurves(runs.slice(0, CURVES).map((run) => run.index));
  }

  /** The runs, the best first: those of the first page, and all once the study has ended. */
  private async loadRuns(isEnded: boolean): Promise<StudyRun[]> {
    const found: StudyRun[] = [];
    let after: string | null = null;
    do {
      const asked = { limit: PAGE, sort: "metric", after };
      const path = withQuery(`${this.path}/runs`, asked);
      const page: StudyRunPage = await get<StudyRunPage>(path, this.stop.signal);
      found.push(...page.data);
      after = page.next_cursor;
    } while (after !== null && isEnded && found.length < MOST_RUNS);
    return found;
  }

  private take(events: StreamEvent[]): void {
    for (const { type, data } of events) {
      if (type === "status" || type === "end") this.study.value = data as Study;
    }
    this.refreshSoon();
  }

  private refreshSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.isLoading) this.refreshSoon();
      else void this.load();
    }, REFRESH_MS);
  }

  /** Fetch the curves of runs that have ended and are not here yet, a few at a time. */
  async loadCurves(indices: readonly number[]): Promise<void> {
    const ended = new Set(
      this.runs.value
        .filter((run) => !["queued", "running"].includes(run.status))
        .map((r) => r.index),
    );
    const wanted = indices.filter((index) => ended.has(index) && !this.asked.has(index));
    for (const index of wanted) this.asked.add(index);
    while (wanted.length && !this.stop.signal.aborted) {
      await Promise.all(wanted.splice(0, AT_ONCE).map((index) => this.loadCurve(index)));
      this.version.value++;
    }
  }

  private async loadCurve(index: number): Promise<void> {
    const path = `${this.path}/runs/${index}/history`;
    try {
      const rows = await get<History>(
        withQuery(path, { points: POINTS, series: "loss" }),
        this.stop.signal,
      );
      const columns = new Columns("step");
      columns.append(rows.series);
      this.curves.set(index, columns);
    } catch {
      this.asked.delete(index); // it is asked for again with the next look
    }
  }
}
