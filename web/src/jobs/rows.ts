/** The rows of one job in the browser: a first view, what the stream adds, details of a range. */
import { signal } from "@preact/signals";
import { ApiError, get, wantsKey, withQuery } from "../api/client";
import { persist } from "../api/persist";
import type { History, Job, Rows } from "../api/types";
import { Columns, nearest } from "../charts/columns";

export type Kind = "train" | "eval";
type Steps = readonly [number, number];
/** The most rows of the first view, and of a range that is fetched whole. */
const POINTS = 4_000;
const PAGE = 10_000;
const MOST_DETAIL = 50_000;
/** Series that a run has as a rule: asked for while it has not begun. */
const USUAL = ["loss", "lr", "grad_norm"];

export class JobRows {
  /** Grows with every change. */
  readonly version = signal(0);
  readonly error = signal<unknown>(null);
  readonly isLoaded = signal(false);
  readonly train = new Columns("step");
  readonly eval = new Columns("step");
  /** Rows of the zoomed range, where the view leaves some out; null: there are none. */
  detail: Columns | null = null;
  /** True if every row of the zoomed range stands in `detail`. */
  isDetailWhole = false;
  total = 0;
  private readonly stop = new AbortController();
  private isFetchingEval = false;
  /** Counts the ranges that were asked for: what comes of an earlier one is too late. */
  private zoomed = 0;
  /** The range that `detail` is for, in steps. */
  private range: Steps | null = null;
  private isThinning = false;
  private stored = USUAL;
  /** Places other than steps: jobs of an earlier version have no times, functions no epochs. */
  private places: string[];

  constructor(
    readonly jobId: string,
    private readonly isFunction: boolean,
  ) {
    this.places = isFunction ? ["time_s"] : ["time_s", "epoch"];
  }

  close(): void {
    this.stop.abort();
  }

  /** True if every row that there is stands in `train`. */
  get isWhole(): boolean {
    return this.train.length >= this.total;
  }

  /** The series to ask a stream for. */
  get series(): string {
    return this.names("train").join(",");
  }

  private names(kind: Kind): string[] {
    return kind === "train" ? [...this.stored, ...this.places] : this.places;
  }

  /** Load the first view; a failure that passes stands in `error` until it has. */
  async load(): Promise<void> {
    const { signal: stop } = this.stop;
    try {
      await persist(
        () => this.loadView(),
        stop,
        (error) => {
          this.error.value = error;
        },
      );
      this.error.value = null;
    } catch (error) {
      if (!stop.aborted && !wantsKey(error)) this.error.value = error;
    }
    this.isLoaded.value = true;
    this.version.value++;
  }

  private async loadView(): Promise<void> {
    const one = withQuery(`/v1/jobs/${this.jobId}/history`, { points: 1 });
    const { series } = await get<Rows>(one, this.stop.signal);
    const stored = Object.keys(series).filter((name) => name !== "step" && name !== "x");
    if (stored.length) this.stored = stored;
    const rows = await this.fetch("train", { points: POINTS });
    this.train.append(rows.series);
    this.total = rows.total;
    if (!this.isFunction) this.eval.append((await this.fetchEval({ points: POINTS })).series);
  }

  /** Take rows that the stream brings. */
  add(found: readonly Pick<History, "series">[]): void {
    for (const { series } of found) {
      const [before, { end }] = [this.train.length, this.train];
      this.train.append(series);
      this.total += this.train.length - before;
      this.addToDetail(series, end);
    }
    this.version.value++;
  }

  /** Keep the zoomed range up to date: rows that follow on it belong to it until it is full, and rows that
   * replace some of it (of another attempt) end it. `end`: the last step before these rows. */
  private addToDetail(series: History["series"], end: number): void {
    const first = (series.step as number[] | undefined)?.[0];
    if (!this.detail || first === undefined) return;
    if (first <= this.detail.end) this.detail = null;
    else if (this.detail.end === end && this.range && end < this.range[1]) {
      this.detail.append(series);
      if (this.detail.length > MOST_DETAIL && !this.isThinning) void this.thin(this.range);
    }
  }

  /** Fetch the evaluations that came since, if any can have. */
  async catchUp(): Promise<void> {
    if (this.isFunction || this.isFetchingEval) return;
    this.isFetchingEval = true;
    try {
      const rows = await this.fetchEval({ after: this.eval.end, limit: PAGE });
      if (rows.returned) {
        this.eval.append(rows.series);
        this.version.value++;
      }
    } catch {
      // the next status asks again
    } finally {
      this.isFetchingEval = false;
    }
  }

  /** Fetch the rows from one step to another where the view leaves some of them out: all, or a view
   * of them where there are too many. */
  async zoom(range: Steps | null): Promise<void> {
    this.detail = null;
    await this.fetchRange(range, MOST_DETAIL);
  }

  /** Take a view in place of a range that has come to more rows than are kept. */
  private async thin(range: Steps): Promise<void> {
    this.isThinning = true;
    await this.fetchRange(range, 0);
    this.isThinning = false;
  }

  private async fetchRange(range: Steps | null, most: number): Promise<void> {
    this.range = range;
    const asked = ++this.zoomed;
    const step = this.train.get("step");
    if (range && step?.length && !this.isWhole) {
      const first = step[Math.max(0, nearest(step, range[0]) - 1)]!;
      const last = step[Math.min(step.length - 1, nearest(step, range[1]) + 1)]!;
      const every = Math.max(1, (step[step.length - 1]! - step[0]!) / Math.max(1, this.total - 1));
      const isWhole = (last - first) / every <= most;
      const within = { after: first - 1, until: last };
      const isAtEnd = last === this.train.end;
      try {
        const detail = isWhole
          ? await this.everyRow(within)
          : await this.fetch("train", { ...within, points: POINTS }).then(({ series }) => {
              const view = new Columns("step");
              view.append(series);
              return view;
            });
        if (asked === this.zoomed) {
          const isFull = detail.end >= range[1];
          if (isAtEnd && !isFull) detail.append(this.train.after(detail.end)); // came in the meantime
          this.detail = detail;
          this.isDetailWhole = isWhole;
        }
      } catch {
        // the view stays as it is, and says how many rows it shows
      }
    }
    this.version.value++;
  }

  private async everyRow({ after, until }: { after: number; until: number }): Promise<Columns> {
    const found = new Columns("step");
    for (let from = after; from < until; from = found.end) {
      const rows = await this.fetch("train", { after: from, until, limit: PAGE });
      if (!rows.returned) break;
      found.append(rows.series);
    }
    return found;
  }

  private async fetch(kind: Kind, query: Record<string, number>): Promise<Rows> {
    const path = (): string => {
      const series = this.names(kind).join(",");
      return withQuery(`/v1/jobs/${this.jobId}/history`, { kind, series, ...query });
    };
    try {
      return await get<Rows>(path(), this.stop.signal);
    } catch (error) {
      const isRefused = error instanceof ApiError && error.status === 422;
      if (!isRefused || !this.places.includes("time_s")) throw error;
      this.places = this.places.filter((name) => name !== "time_s");
      return get<Rows>(path(), this.stop.signal);
    }
  }

  /** All metrics that there are, and their places on the other axes. */
  private async fetchEval(query: Record<string, number>): Promise<Rows> {
    const path = withQuery(`/v1/jobs/${this.jobId}/history`, { kind: "eval", ...query });
    const rows = await get<Rows>(path, this.stop.signal);
    if (!rows.returned || !this.places.length) return rows;
    const { series } = await this.fetch("eval", query);
    return { ...rows, series: { ...series, ...rows.series } };
  }
}

/** A job that has not ended, with the step and the loss of its newest row, which come before the next
 * word on its status. */
export function upToDate(job: Job, rows: JobRows | null): Job {
  if (job.finished_at !== null || !rows?.version.value) return job;
  const step = rows.train.end + 1;
  const loss = rows.train.get("loss")?.at(-1);
  if (step <= job.progress.step || loss === undefined) return job;
  const { max_steps: most } = job.progress;
  const fraction = most ? step / most : job.progress.fraction;
  const latest = { ...job.latest, step: step - 1, loss } as Job["latest"];
  return { ...job, progress: { ...job.progress, step, fraction }, latest };
}
