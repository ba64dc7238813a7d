import { beforeEach, expect, test, vi } from "vitest";

const replaceState = vi.fn();
const state = { current: null as unknown };

beforeEach(() => {
  replaceState.mockReset();
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("location", { pathname: "/jobs", search: "" });
  vi.stubGlobal("addEventListener", () => void 0);
  vi.stubGlobal("history", {
    get state() {
      return state.current;
    },
    replaceState,
  });
});

test("what is remembered stands beside what was", async () => {
  const { remember } = await import("../src/app/router");
  state.current = { scroll: 7 };
  remember("draft", "{}");
  expect(replaceState).toHaveBeenCalledWith({ scroll: 7, draft: "{}" }, "");
});

test.each(["SecurityError", "DataCloneError"])(
  "a browser that keeps no more (%s) stops nothing",
  async (name) => {
    const { remember } = await import("../src/app/router");
    replaceState.mockImplementation(() => {
      throw new DOMException("no", name);
    });
    expect(() => remember("draft", "{}")).not.toThrow();
    expect(replaceState).toHaveBeenCalledTimes(1);
  },
);

test("a mistake of the page's own is not hidden", async () => {
  const { remember } = await import("../src/app/router");
  replaceState.mockImplementation(() => {
    throw new TypeError("no");
  });
  expect(() => remember("draft", "{}")).toThrow(TypeError);
});
