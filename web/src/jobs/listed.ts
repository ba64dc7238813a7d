/** The listed jobs, kept up to date by the page's one stream. */
import { batch, signal } from "@preact/signals";
import { get, wantsKey } from "../api/client";
import { persist } from "../api/persist";
import { follow, type StreamEvent } from "../api/stream";
import type { JobPage, ListedJob } from "../api/types";
import { belongs, type Filters, listPath } from "./filters";

export const PAGE = 50;
/** As many as one call gives. */
export const MOST = 200;

export class ListedJobs {
  readonly jobs = signal<ListedJob[]>([]);
  readonly isLoaded = signal(false);
  readonly more = signal<string | null>(null);
  readonly error = signal<unknown>(null);
  /** Grows with every word of the stream on a study. */
  readonly studies = signal(0);
  private readonly stop = new AbortController();
  private end: (() => void) | null = null;
  /** What the stream has brought before the first page was here; null since then. */
  private early: ListedJob[] | null = [];

  /** `count`: how many to list at first. */
  constructor(
    private readonly filters: Filters,
    private readonly count = PAGE,
  ) {
    void this.begin();
  }

  close(): void {
    this.stop.abort();
    this.end?.();
  }

  private async begin(): Promise<void> {
    // The stream first: what changes while the list is on its way is not missed.
    this.end = follow(
      "/v1/events",
      (events) => this.take(events),
      (error) => {
        this.error.value = error;
      },
    );
    await this.load(null);
  }

  /** Load the next page, or the first one; a failure that passes stands in `error` until it has. */
  async load(after: string | null): Promise<void> {
    const { signal: stop } = this.stop;
    const limit = after === null ? this.count : PAGE;
    const path = listPath(this.filters, limit, after, Date.now());
    try {
      const page = await persist(
        () => get<JobPage>(path, stop),
        stop,
        (error) => {
          this.error.value = error;
        },
      );
      batch(() => {
        this.merge(page.data, true);
        this.more.value = page.next_cursor;
        this.takeEarly();
        this.error.value = null;
        this.isLoaded.value = true;
      });
    } catch (error) {
      if (this.stop.signal.aborted || wantsKey(error)) return;
      batch(() => {
        this.error.value = error;
        this.isLoaded.value = true;
      });
    }
  }

  /** Take out what is gone: no event tells of jobs that were deleted. */
  async refresh(): Promise<void> {
    if (!this.isLoaded.value) return;
    const before = this.jobs.value;
    const limit = Math.min(Math.max(before.length, PAGE), MOST);
    const path = listPath(this.filters, limit, null, Date.now());
    const page = await get<JobPage>(path, this.stop.signal).catch(() => null);
    if (page === null) return; // away: the stream says so
    const there = new Set(page.data.map((job) => job.id));
    const last = page.next_cursor === null ? "" : (page.data.at(-1)?.id ?? "");
    const gone = new Set(
      before.filter((job) => job.id >= last && !there.has(job.id)).map((job) => job.id),
    );
    batch(() => {
      if (gone.size) this.jobs.value = this.jobs.value.filter((job) => !gone.has(job.id));
      this.merge(page.data, true);
    });
  }

  private take(events: StreamEvent[]): void {
    const all = events
      .filter((event) => event.type === "status" || event.type === "end")
      .map((event) => event.data as ListedJob);
    const jobs = all.filter((job) => job.id.startsWith("job_"));
    if (jobs.length < all.length) this.studies.value++;
    if (this.early) this.early.push(...jobs);
    else if (jobs.length) this.merge(jobs, false);
  }

  /** Only the page tells which jobs are listed, and it may be newer than what came before it. */
  private takeEarly(): void {
    const listed = new Map(this.jobs.value.map((job) => [job.id, job]));
    const isNews = (job: ListedJob): boolean => {
      const known = listed.get(job.id);
      return !known || isNewer(job, known);
    };
    const news = this.early?.filter(isNews) ?? [];
    this.early = null;
    if (news.length) this.merge(news, false);
  }

  /** Take jobs in. Those that are listed change in place; `isPage`: the others are listed, too; else
   * only those that are newer than the oldest one here. */
  private merge(found: readonly ListedJob[], isPage: boolean): void {
    const byId = new Map(this.jobs.value.map((job) => [job.id, job]));
    const oldest = this.jobs.value.at(-1)?.id ?? "";
    const now = Date.now();
    for (const job of found) {
      const known = byId.get(job.id);
      if (!belongs(job, this.filters, now)) byId.delete(job.id);
      else if (known && isPage && isNewer(known, job)) continue;
      else if (known || isPage || this.more.value === null || job.id > oldest) {
        byId.set(job.id, job);
      }
    }
    this.jobs.value = [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }
}

const isNewer = (a: ListedJob, b: ListedJob): boolean =>
  a.progress.step > b.progress.step || (a.finished_at !== null && b.finished_at === null);
