import { beforeEach, expect, test, vi } from "vitest";
import type { Job } from "../src/api/types";
import type { JobRows } from "../src/jobs/rows";

const TOTAL = 200_000;
let asked: URLSearchParams[] = [];
/** How many rows the service has. */
let stored = TOTAL;

/** A service with the history of one job: its loss at step k is k, and there are no times. */
function reply(url: string): Response {
  const query = new URL(url, "http://service").searchParams;
  asked.push(query);
  if (query.get("series")?.includes("time_s")) {
    return Response.json({ code: "invalid_request" }, { status: 422 });
  }
  const first = Number(query.get("after") ?? -1) + 1;
  const last = Math.min(Number(query.get("until") ?? stored - 1), stored - 1);
  const points = Number(query.get("points") ?? 0);
  const stride = points ? Math.max(1, Math.ceil((last - first + 1) / points)) : 1;
  const limit = points || Number(query.get("limit"));
  const step: number[] = [];
  for (let k = first; k <= last && step.length < limit; k += stride) step.push(k);
  return Response.json({ series: { step, loss: step }, total: stored, returned: step.length });
}

let rows: JobRows;

beforeEach(async () => {
  stored = TOTAL;
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("fetch", async (url: string) => reply(url));
  const module = await import("../src/jobs/rows");
  rows = new module.JobRows("job_1", true);
  await rows.load();
  asked = [];
});

test("a range of few rows is fetched whole, page by page", async () => {
  await rows.zoom([1_000, 13_000]);
  const step = rows.detail!.get("step")!;
  expect(rows.isDetailWhole).toBe(true);
  expect(step.length).toBe(step[step.length - 1]! - step[0]! + 1);
  expect(step[0]).toBeLessThanOrEqual(1_000);
  expect(step[step.length - 1]).toBeGreaterThanOrEqual(13_000);
  expect(asked.length).toBe(2);
});

test("a range of more rows than can be fetched is viewed again, by itself", async () => {
  await rows.zoom([20_000, 120_000]);
  expect(asked.length).toBe(1);
  expect(asked[0]!.get("points")).toBe("4000");
  const step = rows.detail!.get("step")!;
  expect(rows.isDetailWhole).toBe(false);
  expect(step[0]).toBeGreaterThan(19_000);
  expect(step[step.length - 1]).toBeLessThan(121_000);
  const before = rows.train.get("step")!.filter((each) => each >= 20_000 && each <= 120_000);
  expect(step.length).toBeGreaterThan(1.8 * before.length);
});

test("what comes of a range that is no longer shown is dropped", async () => {
  const first = rows.zoom([20_000, 120_000]);
  const second = rows.zoom(null);
  await Promise.all([first, second]);
  expect(rows.detail).toBe(null);
});

test("a job that runs is as far as its newest row, one that has ended as its record says", async () => {
  const { upToDate } = await import("../src/jobs/rows");
  const job = {
    finished_at: null,
    progress: { step: 10, max_steps: 400_000, fraction: 0 },
    latest: { step: 9, loss: 9 },
  } as unknown as Job;
  const end = rows.train.end;
  const { progress, latest } = upToDate(job, rows);
  expect(progress).toMatchObject({ step: end + 1, fraction: (end + 1) / 400_000 });
  expect(latest).toEqual({ step: end, loss: end });
  const later = { ...job, progress: { ...job.progress, step: end + 5 } };
  for (const same of [later, { ...job, finished_at: "2026-11-30T00:00:00Z" }]) {
    expect(upToDate(same, rows)).toBe(same);
  }
  expect(upToDate(job, null)).toBe(job);
});

const more = (first: number, last: number) => {
  const step = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  return [{ series: { step, loss: step } }];
};

test("a zoomed range stays exact while rows come, and those that follow on it belong to it", async () => {
  await rows.zoom([1_000, 13_000]);
  const length = rows.detail!.length;
  rows.add(more(TOTAL, TOTAL + 9));
  expect(rows.detail!.length).toBe(length);
  await rows.zoom([TOTAL - 100, TOTAL + 100]);
  const { end, length: before } = rows.detail!;
  expect(end).toBe(rows.train.end);
  rows.add(more(end + 1, end + 5));
  expect(rows.detail!.length).toBe(before + 5);
  expect(rows.detail!.end).toBe(end + 5);
});

test("rows of another attempt end the detail that they replace", async () => {
  await rows.zoom([1_000, 13_000]);
  rows.add(more(5_000, 5_100));
  expect(rows.detail).toBeNull();
});

test("what cannot be loaded is told, and is there once the service is", async () => {
  vi.useFakeTimers();
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("down")));
  const { JobRows: Made } = await import("../src/jobs/rows");
  const made = new Made("job_2", true);
  const loaded = made.load();
  await vi.advanceTimersByTimeAsync(100);
  expect(made.error.value).toMatchObject({ status: 0 });
  vi.stubGlobal("fetch", async (url: string) => reply(url));
  await vi.runAllTimersAsync();
  await loaded;
  vi.useRealTimers();
  expect(made.error.value).toBeNull();
  expect(made.train.length).toBeGreaterThan(0);
});

test("rows that come while a range is fetched are not missing at its end", async () => {
  const zoomed = rows.zoom([TOTAL - 100, TOTAL + 100]);
  rows.add(more(TOTAL, TOTAL + 4));
  await zoomed;
  expect(rows.detail!.end).toBe(TOTAL + 4);
  expect(rows.detail!.get("loss")!.at(-1)).toBe(TOTAL + 4);
});

test("a zoomed range that is full takes no more rows, however long the job goes on", async () => {
  const to = TOTAL + 20;
  await rows.zoom([TOTAL - 100, to]);
  for (let first = TOTAL; first < TOTAL + 100_000; first += 1_000) {
    rows.add(more(first, first + 999));
  }
  expect(rows.detail!.end).toBeGreaterThanOrEqual(to);
  expect(rows.detail!.length).toBeLessThan(1_300);
});

test("a range that lies open to the end is viewed again before it has too many rows", async () => {
  await rows.zoom([TOTAL - 100, Number.MAX_SAFE_INTEGER]);
  let longest = 0;
  for (let first = TOTAL; first < TOTAL + 200_000; first += 1_000) {
    stored = first + 1_000;
    rows.add(more(first, first + 999));
    longest = Math.max(longest, rows.detail!.length);
    await new Promise((done) => setTimeout(done)); // what was asked for comes
  }
  expect(longest).toBeLessThan(60_000);
  expect(rows.detail!.end).toBe(rows.train.end);
  expect(rows.isDetailWhole).toBe(false);
});
