/** Jobs that race: their records and their points, brought by one stream for all of them. */
import { batch, signal } from "@preact/signals";
import { get, post, withQuery } from "../api/client";
import { persist } from "../api/persist";
import { follow, type StreamEvent } from "../api/stream";
import type { History, Job, ListedJob } from "../api/types";
import { type Cell, toNumber } from "../charts/columns";
import { MOST_STEPS, type Point } from "./setup";

/** Redraws are at least so far apart. */
const REDRAW_MS = 100;

export class Racer {
  readonly x: number[] = [];
  readonly y: number[] = [];
  readonly loss: number[] = [];
  readonly job = signal<Job | null>(null);
  readonly error = signal<unknown>(null);
  /** A failure that passes. */
  readonly failing = signal<unknown>(null);

  constructor(readonly id: string) {}

  /** Take rows; those that are there already come again after a cut. */
  add(series: History["series"]): void {
    const steps = (series.step ?? []) as number[];
    const points = (series.x ?? []) as Cell[][];
    const losses = (series.loss ?? []) as Cell[];
    steps.forEach((step, i) => {
      this.x[step] = toNumber(points[i]?.[0]);
      this.y[step] = toNumber(points[i]?.[1]);
      this.loss[step] = toNumber(losses[i]);
    });
  }

  /** The record of a job that has ended has the point after its last step. */
  close(job: Job): void {
    this.job.value = job;
    const { solution, value, num_steps: steps } = job.result ?? {};
    if (!solution || typeof steps !== "number") return;
    const [x, y] = Object.values(solution) as Cell[];
    this.x[steps] = toNumber(x);
    this.y[steps] = toNumber(y);
    this.loss[steps] = toNumber(value as Cell);
  }
}

export class Race {
  readonly racers: Racer[];
  /** Grows when there is something new to draw. */
  readonly version = signal(0);
  private readonly stop = new AbortController();
  private end: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly closing = new Set<string>();

  constructor(ids: readonly string[]) {
    this.racers = ids.map((id) => new Racer(id));
    void this.begin();
  }

  close(): void {
    this.stop.abort();
    clearTimeout(this.timer);
    this.unfollow();
  }

  private unfollow(): void {
    this.end?.();
    this.end = null;
  }

  get isOver(): boolean {
    return this.racers.every((each) => each.error.value || each.job.value?.finished_at);
  }

  private async begin(): Promise<void> {
    await Promise.all(this.racers.map((racer) => this.load(racer)));
    const ids = this.racers.filter((each) => !each.error.value).map((each) => each.id);
    if (this.isOver || this.stop.signal.aborted) return;
    this.end = follow(withQuery("/v1/events", { job: ids }), (events) => this.take(events));
  }

  /** Read a job, and, of one that has ended, all its points. */
  private async load(racer: Racer): Promise<void> {
    const path = `/v1/jobs/${encodeURIComponent(racer.id)}`;
    const { signal: stop } = this.stop;
    const load = async (): Promise<void> => {
      const job = await get<Job>(path, stop);
      racer.failing.value = null;
      if (job.finished_at === null) {
        racer.job.value = job;
        return;
      }
      const query = { series: "loss,x", limit: MOST_STEPS };
      const rows = await get<History>(withQuery(`${path}/history`, query), stop);
      batch(() => {
        racer.add(rows.series);
        racer.close(job);
      });
    };
    try {
      await persist(load, stop, (error) => {
        racer.failing.value = error;
      });
    } catch (error) {
      if (!stop.aborted) racer.error.value = error;
    }
    this.redraw();
  }

  private take(events: readonly StreamEvent[]): void {
    for (const { type, data } of events) {
      if (type === "points") {
        const rows = data as History;
        this.racers.find((each) => each.id === rows.job_id)?.add(rows.series);
      } else if (type === "status" || type === "end") {
        const job = data as ListedJob;
        const racer = this.racers.find((each) => each.id === job.id);
        if (racer && job.finished_at !== null && !this.closing.has(job.id)) {
          this.closing.add(job.id);
          void this.load(racer).then(() => {
            if (this.isOver) this.unfollow();
          });
        }
      }
    }
    this.redraw();
  }

  private redraw(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.version.value++;
    }, REDRAW_MS);
  }
}

/** Values of a function, from the service. */
export async function valuesAt(
  spec: object,
  points: readonly Point[],
  stop?: AbortSignal,
): Promise<Float64Array> {
  const reply = await post<{ values: Cell[] }>(
    "/v1/functions/values",
    { function: spec, points },
    stop,
  );
  return Float64Array.from(reply.values, toNumber);
}
