import { beforeEach, expect, test, vi } from "vitest";

beforeEach(() => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.useFakeTimers();
  return () => void vi.useRealTimers();
});

const load = async () => ({
  ...(await import("../src/api/persist")),
  ...(await import("../src/api/client")),
});

test("a call is made again while the service is away, and each failure is told", async () => {
  const { ApiError, persist } = await load();
  const answers = [0, 503, 429, 502, 504].map((status) => new ApiError(status, "x", "x"));
  const told: unknown[] = [];
  const call = vi.fn(async () => {
    const error = answers[told.length];
    if (error) throw error;
    return "here";
  });
  const found = persist(call, new AbortController().signal, (error) => told.push(error));
  await vi.runAllTimersAsync();
  expect(await found).toBe("here");
  expect(told).toEqual(answers);
  expect(call).toHaveBeenCalledTimes(6);
});

test("what is refused for good is not asked for again", async () => {
  const { ApiError, persist } = await load();
  for (const status of [400, 401, 403, 404, 409, 422, 500]) {
    const call = vi.fn(() => Promise.reject(new ApiError(status, "x", "x")));
    const found = persist(call, new AbortController().signal, () => void 0);
    await expect(found).rejects.toMatchObject({ status });
    expect(call).toHaveBeenCalledTimes(1);
  }
});

test("it ends with the view that wanted it", async () => {
  const { ApiError, persist } = await load();
  const stop = new AbortController();
  const call = vi.fn(() => Promise.reject(new ApiError(0, "x", "x")));
  const found = persist(call, stop.signal, () => stop.abort());
  await expect(found).rejects.toMatchObject({ status: 0 });
  await vi.runAllTimersAsync();
  expect(call).toHaveBeenCalledTimes(1);
});

test("a view that waits for long does not gather listeners", async () => {
  const { sleep } = await load();
  const stop = new AbortController();
  const [add, remove] = ["addEventListener", "removeEventListener"].map((name) =>
    vi.spyOn(stop.signal, name as "addEventListener"),
  );
  for (let i = 0; i < 3; i++) {
    const waited = sleep(1_000, stop.signal);
    await vi.runAllTimersAsync();
    await waited;
  }
  expect(add).toHaveBeenCalledTimes(3);
  expect(remove).toHaveBeenCalledTimes(3);
});
