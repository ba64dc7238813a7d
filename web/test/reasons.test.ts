import { expect, test } from "vitest";
import { nameOf } from "../src/studies/dial";
import { reasonInChinese } from "../src/studies/said";
import cases from "./reasons.json";

type Told = Parameters<typeof reasonInChinese>[0];
const said = (name: keyof typeof cases): string | null =>
  reasonInChinese(cases[name] as unknown as Told, (params) => nameOf(params, String));

/** What the service says in English, and what of the Chinese tells the same. */
const ALIKE: readonly (readonly [RegExp, string])[] = [
  [/No run has been planned/, "尚未安排任何运行"],
  [/not at its end/, "研究尚未结束"],
  [/(\d+) of its runs have not ended/, "还有 $1 次运行没有结束"],
  [/(\d+) runs? (?:was|were) cancelled/, "有 $1 次运行在结束前被取消"],
  [/: (\d+) diverged, (\d+) failed\./, "$1 次发散，$2 次失败"],
  [/No configuration went through all/, "没有配置完成全部重复"],
  [/No configuration came to its end/, "没有配置的全部重复都运行到结束"],
  [/only one configuration/, "只有一个配置"],
  [/is the only one with a value/, "有值，而一次重复"],
  [/leads by ([\d.]+), but one repeat/, "领先 $1，但一次重复"],
  [/told apart from (\d+) others?/, "与其他 $1 个无法区分"],
  [/only one that was trained to its end/, "训练到了结束"],
  [/only one that lost none/, "没有失去任何运行"],
  [/each of the (\d+) other configurations? compared/, "其他 $1 个配置都有区别"],
  [/(\d+) others? lost runs/, "另有 $1 个失去了运行"],
  [/(\d+) configurations? (?:was|were) stopped early/, "$1 个配置提前停止"],
  [/Configuration (\d+) \(lr/, "配置 $1（"],
];

const names = Object.keys(cases) as (keyof typeof cases)[];

test.each(names)("%s: the reason is the service's, in Chinese", (name) => {
  const chinese = said(name);
  expect(chinese).not.toBeNull();
  for (const [english, same] of ALIKE) {
    const found = english.exec(cases[name].reason);
    const words = same.replace(/\$(\d)/g, (_, number: string) => found?.[Number(number)] ?? "");
    if (found) expect(chinese, String(english)).toContain(words);
    else if (!same.includes("$") && !english.source.includes("only one configuration"))
      expect(chinese, String(english)).not.toContain(words);
  }
});

test("every sentence occurs in a case", () => {
  for (const [english] of ALIKE)
    expect(
      names.some((name) => english.test(cases[name].reason)),
      String(english),
    ).toBe(true);
});

test("different problems are said to be compared each by itself", () => {
  const told = { ...cases.won, problems: [{}, {}, {}] } as unknown as Told;
  expect(reasonInChinese(told, () => "")).toContain("各配置的问题有 3 种");
});
