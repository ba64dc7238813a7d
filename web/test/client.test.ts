import { beforeEach, expect, test, vi } from "vitest";

beforeEach(() => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  return () => void vi.unstubAllGlobals();
});

/** Answer each request with a body that breaks off with this error. */
function broken(error: Error): void {
  const body = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('{"data": ['));
        controller.error(error);
      },
    });
  vi.stubGlobal("fetch", async () => new Response(body(), { status: 200 }));
}

test("a connection that breaks within a reply is as good as none: the call may be made again", async () => {
  const { ApiError, get, post } = await import("../src/api/client");
  const { isPassing } = await import("../src/api/persist");
  broken(new TypeError("network error"));
  for (const call of [() => get("/v1/jobs"), () => post("/v1/jobs/validate", {})]) {
    const error = await call().catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(ApiError);
    expect(isPassing(error)).toBe(true);
  }
});

test("a view that is left ends its call as such", async () => {
  const { get } = await import("../src/api/client");
  broken(new DOMException("left", "AbortError"));
  await expect(get("/v1/jobs")).rejects.toMatchObject({ name: "AbortError" });
});

test("a reply that is no JSON is not asked for again", async () => {
  const { get } = await import("../src/api/client");
  vi.stubGlobal("fetch", async () => new Response("<html>", { status: 200 }));
  await expect(get("/v1/jobs")).rejects.toBeInstanceOf(SyntaxError);
});
