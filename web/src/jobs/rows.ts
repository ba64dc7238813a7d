/** The rows of one job in the browser: a first view, what the stream adds, details of a range. */
import { signal } from "@preact/signals";
import { ApiError, get, withQuery } from "../api/client";
import type { History, Rows } from "../api/types";
import { Columns, nearest } from "../charts/columns";

export type Kind = "train" | "eval";
/** The most rows of the first view, and of a range that is fetched whole. */
const POINTS = 4_000;
const PAGE = 10_000;
const MOST_DETAIL = 50_000;
const ALL = ["loss", "lr", "grad_norm", "time_s", "epoch"];

export class JobRows {
  /** Grows with every change. */
  readonly version = signal(0);
  readonly error = signal<unknown>(null);
  readonly isLoaded = signal(false);
  readonly train = new Columns("step");
  readonly eval = new Columns("step");
  /** Rows of the zoomed range, where the view leaves some out; null: there are none. */
  detail: Columns | null = null;
  total = 0;
  private readonly stop = new AbortController();
  private isFetchingEval = false;

  constructor(
    readonly jobId: string,
    private readonly isFunction: boolean,
  ) {}

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
    const found = kind === "train" ? ALL : ["time_s", "epoch"];
    return this.isFunction ? found.filter((name) => name !== "epoch") : found;
  }

  async load(): Promise<void> {
    try {
      const rows = await this.fetch("train", { points: POINTS });
      this.train.append(rows.series);
      this.total = rows.total;
      if (!this.isFunction) this.eval.append((await this.fetchEval({ points: POINTS })).series);
      this.error.value = null;
    } catch (error) {
      if (!this.stop.signal.aborted) this.error.value = error;
    }
    this.isLoaded.value = true;
    this.version.value++;
  }

  /** Take rows that the stream brings. */
  add(found: readonly Pick<History, "series">[]): void {
    for (const { series } of found) {
      const before = this.train.length;
      this.train.append(series);
      this.total += this.train.length - before;
    }
    this.detail = null;
    this.version.value++;
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

  /** Fetch the rows from one step to another where the view leaves some of them out. */
  async zoom(range: readonly [number, number] | null): Promise<void> {
    this.detail = null;
    const step = this.train.get("step");
    if (range && step?.length && !this.isWhole) {
      const first = step[Math.max(0, nearest(step, range[0]) - 1)]!;
      const last = step[Math.min(step.length - 1, nearest(step, range[1]) + 1)]!;
      const every = Math.max(1, (step[step.length - 1]! - step[0]!) / Math.max(1, this.total - 1));
      if ((last - first) / every <= MOST_DETAIL) {
        const detail = new Columns("step");
        let after = first - 1;
        try {
          while (after < last) {
            const limit = Math.min(PAGE, Math.ceil((last - after) / every));
            const rows = await this.fetch("train", { after, limit });
            if (!rows.returned) break;
            detail.append(rows.series);
            after = detail.end;
          }
          this.detail = detail;
        } catch {
          // the view stays as it is, and says how many rows it shows
        }
      }
    }
    this.version.value++;
  }

  private async fetch(kind: Kind, query: Record<string, number>): Promise<Rows> {
    const path = (series: string[]): string =>
      withQuery(`/v1/jobs/${this.jobId}/history`, { kind, series: series.join(","), ...query });
    const names = this.names(kind);
    try {
      return await get<Rows>(path(names), this.stop.signal);
    } catch (error) {
      // Jobs of an earlier version have no times.
      if (!(error instanceof ApiError) || error.status !== 422) throw error;
      return get<Rows>(path(names.filter((name) => name !== "time_s")), this.stop.signal);
    }
  }

  /** All metrics that there are, and their places on the other axes. */
  private async fetchEval(query: Record<string, number>): Promise<Rows> {
    const path = withQuery(`/v1/jobs/${this.jobId}/history`, { kind: "eval", ...query });
    const rows = await get<Rows>(path, this.stop.signal);
    if (!rows.returned) return rows;
    const { series } = await this.fetch("eval", query);
    return { ...rows, series: { ...series, ...rows.series } };
  }
}
