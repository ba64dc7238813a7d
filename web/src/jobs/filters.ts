/** What of the jobs is listed: kept in the address, so that a list can be sent to somebody. */
import { computed } from "@preact/signals";
import { withQuery } from "../api/client";
import type { ListedJob, Status } from "../api/types";
import { query } from "../app/router";

export const STATUSES: readonly Status[] = [
  "queued",
  "running",
  "paused",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
];
/** Ages by which the list can be cut, in hours. */
export const SINCE: Record<string, number> = { hour: 1, day: 24, week: 168 };

export type Filters = { status: Status[]; label: string[]; since: string };

export const filters = computed<Filters>(() => ({
  status: query.value
    .getAll("status")
    .filter((each): each is Status => (STATUSES as readonly string[]).includes(each)),
  label: query.value.getAll("label").filter((each) => /^[^:]+:.*$/.test(each)),
  since: (query.value.get("since") ?? "") in SINCE ? query.value.get("since")! : "",
}));

/** Verdicts by which the list is looked through; the service itself does not filter by them. */
export const VERDICTS = [
  "healthy",
  "converged",
  "diverging",
  "oscillating",
  "saddle_point",
  "local_minimum",
  "plateau",
  "too_slow",
  "overfitting",
  "noise_limited",
  "undetermined",
] as const;

/** The verdict that is looked for; empty for any. */
export const verdict = computed<string>(
  () => VERDICTS.find((each) => each === query.value.get("verdict")) ?? "",
);

const createdAfter = (since: string, now: number): string | null =>
  since ? new Date(now - 3_600_000 * SINCE[since]!).toISOString() : null;

/** The call that gives the list. */
export function listPath(of: Filters, limit: number, after: string | null, now: number): string {
  const { status, label, since } = of;
  const created_after = createdAfter(since, now);
  return withQuery("/v1/jobs", { status, label, created_after, limit, after });
}

/** Whether a job belongs into the list: told of a job that the stream brings. */
export function belongs(job: ListedJob, of: Filters, now: number): boolean {
  const earliest = createdAfter(of.since, now);
  return (
    (!of.status.length || of.status.includes(job.status)) &&
    of.label.every((each) => {
      const [name, ...value] = each.split(":");
      return job.labels[name!] === value.join(":");
    }) &&
    (earliest === null || Date.parse(job.created_at) > Date.parse(earliest))
  );
}
