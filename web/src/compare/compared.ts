/** A comparison of jobs as the API gives it, kept up to date while one of them runs. */
import { batch, signal } from "@preact/signals";
import { get, wantsKey, withQuery } from "../api/client";
import { persist } from "../api/persist";
import { follow } from "../api/stream";
import type { JobComparison } from "../api/types";

export type Axis = "step" | "epoch" | "time_s";
export type Asked = {
  job: readonly string[];
  label: readonly string[];
  baseline: string | null;
  x: Axis;
};
export const POINTS = 1_000;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
/** A comparison is computed anew for all its jobs: not more often than this. */
const REFRESH_MS = 2_000;

export const comparisonQuery = ({ job, label, baseline, x }: Asked, points = POINTS): string =>
  withQuery("/v1/comparison", { job, label, baseline, x, points });

export class Compared {
  readonly found = signal<JobComparison | null>(null);
  readonly error = signal<unknown>(null);
  private readonly stop = new AbortController();
  private end: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isLoading = false;

  constructor(private readonly asked: Asked) {
    void this.load();
  }

  close(): void {
    this.stop.abort();
    clearTimeout(this.timer);
    this.end?.();
  }

  private async load(): Promise<void> {
    this.isLoading = true;
    const { signal: stop } = this.stop;
    try {
      const found = await persist(
        () => get<JobComparison>(comparisonQuery(this.asked), stop),
        stop,
        (error) => {
          this.error.value = error;
        },
      );
      batch(() => {
        this.found.value = found;
        this.error.value = null;
      });
      this.followThose(found);
    } catch (error) {
      if (!stop.aborted && !wantsKey(error)) this.error.value = error;
    }
    this.isLoading = false;
  }

  /** One stream for all jobs that have not ended; each event asks for the comparison anew. */
  private followThose(found: JobComparison): void {
    const running = found.jobs.filter((job) => !ENDED.has(job.status)).map((job) => job.id);
    if (!running.length) {
      this.end?.();
      this.end = null;
    } else {
      this.end ??= follow(
        withQuery("/v1/events", { job: running }),
        () => this.refreshSoon(),
        () => this.refreshSoon(), // the comparison says what is wrong
      );
    }
  }

  private refreshSoon(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.isLoading) this.refreshSoon();
      else void this.load();
    }, REFRESH_MS);
  }
}
