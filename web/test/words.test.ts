import { expect, test } from "vitest";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";

const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

test("both languages have the same words, with the same things to fill in", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const name of Object.keys(en) as (keyof typeof en)[]) {
    for (const form of en[name].split("|")) {
      expect(places(form), name).toEqual(places(zh[name]));
    }
  }
});

test("the Chinese is Chinese", () => {
  const same = Object.keys(en).filter((name) => {
    const key = name as keyof typeof en;
    return !/[\u4e00-\u9fff]/.test(zh[key]);
  });
  expect(same.sort()).toEqual(["series_device_percent"]);
});
