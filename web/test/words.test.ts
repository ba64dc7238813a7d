import { beforeAll, expect, test, vi } from "vitest";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";

beforeAll(() => {
  vi.stubGlobal("document", { documentElement: { dataset: {} } });
  vi.stubGlobal("navigator", { language: "en" });
  vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => void 0 });
});

const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

test("both languages have the same words, with the same things to fill in", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const name of Object.keys(en) as (keyof typeof en)[]) {
    for (const form of en[name].split("|")) {
      expect(places(form), name).toEqual(places(zh[name]));
    }
  }
});

test("a noun that a number counts has a form for one", () => {
  const counted = /\{(?:n|total)\} (?:steps|rows|runs|jobs|points|places|parts|rules)\b(?!\/)/;
  const alike = Object.entries(en).filter(([, text]) => counted.test(text) && !text.includes("|"));
  // Of these there are always several: jobs side by side, points of a chart or a grid, a limit.
  const several = ["compareTitle", "nOfRange", "nOfTotal", "playUndefined", "trayFull"];
  expect(alike.map(([name]) => name).sort()).toEqual(several);
});

test("the Chinese is Chinese", () => {
  const same = Object.keys(en).filter((name) => {
    const key = name as keyof typeof en;
    return !/[\u4e00-\u9fff]/.test(zh[key]);
  });
  expect(same.sort()).toEqual(["series_device_percent"]);
});

test("one is not many", async () => {
  const { lang, t } = await import("../src/i18n");
  expect(["1", "2", "0", "1,000"].map((n) => t("steps", { n }))).toEqual([
    "1 step",
    "2 steps",
    "0 steps",
    "1,000 steps",
  ]);
  const counted: [number, number][] = [
    [1, 1],
    [0, 1],
    [1, 5],
  ];
  expect(counted.map(([n, total]) => t("runsDone", { n, total }))).toEqual([
    "1 of 1 run",
    "0 of 1 run",
    "1 of 5 runs",
  ]);
  lang.value = "zh";
  expect(t("runsDone", { n: 1, total: 1 })).toBe("1 次运行中的 1 次");
  expect([1, 2].map((n) => t("steps", { n }))).toEqual(["1 步", "2 步"]);
});

test.each([
  ["loss", { step: 3, loss: 0.5 }, null, 0.5],
  ["loss", { step: 3, loss: 0.5 }, { train: 10, eval: 0, test: 0 }, 0.5],
  ["eval.loss", { step: 3, loss: 0.5 }, { train: 10, eval: 4, test: 0 }, 0.5],
  ["eval.f1", { step: 3, metric: "eval.f1", value: 0.9 }, { train: 10, eval: 4, test: 0 }, 0.9],
])("the best is of %s", async (series, best, rows, value) => {
  const { bestOf } = await import("../src/jobs/words");
  const data = rows && { num_rows: rows, num_features: 2, classes: null };
  expect(bestOf({ best, data })).toEqual({ series, value });
  expect(bestOf({ best: null, data })).toBeNull();
});
