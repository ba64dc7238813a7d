import { expect, test, vi } from "vitest";
import type { ListedJob } from "../src/api/types";

const job = (id: string, step = 0): ListedJob =>
  ({
    id: `job_${id}`,
    status: "queued",
    finished_at: null,
    labels: {},
    progress: { step },
  }) as unknown as ListedJob;

test("what the stream brings before the page lists no job that is older than the page's", async () => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("navigator", { language: "en" });
  vi.stubGlobal("location", { pathname: "/jobs", search: "" });
  vi.stubGlobal("addEventListener", () => void 0);
  vi.stubGlobal("localStorage", { getItem: () => null });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  const page = { data: [job("5", 7), job("4")], next_cursor: "more", has_more: true };
  vi.stubGlobal("fetch", async () => Response.json(page));
  let bring: (jobs: ListedJob[]) => void = () => void 0;
  vi.doMock("../src/api/stream", () => ({
    follow: (_: string, take: (events: unknown[]) => void) => {
      bring = (jobs) => take(jobs.map((data) => ({ type: "status", data })));
      return () => void 0;
    },
  }));
  const { ListedJobs } = await import("../src/jobs/listed");
  const listed = new ListedJobs({ status: [], label: [], since: "" });
  bring([job("1"), job("5", 3), job("6"), job("4", 2)]);
  await vi.waitFor(() => expect(listed.isLoaded.value).toBe(true));
  const shown = () => listed.jobs.value.map(({ id, progress }) => [id, progress.step]);
  expect(shown()).toEqual([
    ["job_6", 0],
    ["job_5", 7],
    ["job_4", 2],
  ]);
  bring([job("7"), job("2"), job("5", 1)]); // steps go back where an attempt was lost
  expect(shown()).toEqual([
    ["job_7", 0],
    ["job_6", 0],
    ["job_5", 1],
    ["job_4", 2],
  ]);
  page.data = [job("8"), job("6")]; // 7 and, if it is not beyond the page, 5 are gone
  await listed.refresh();
  expect(shown().map(([id]) => id)).toEqual(["job_8", "job_6", "job_5", "job_4"]);
  page.next_cursor = null as never;
  await listed.refresh();
  expect(shown().map(([id]) => id)).toEqual(["job_8", "job_6"]);
});
