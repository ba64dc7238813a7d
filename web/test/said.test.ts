import { expect, test } from "vitest";
import { en } from "../src/i18n/en";
import { NAMES_THINGS, NUMBERS, REMEDIES, SAID, WHY } from "../src/i18n/zh-diagnosis";
import { effectInChinese, findingInChinese, remedyInChinese } from "../src/jobs/said";

const isChinese = (text: string): boolean => /[\u4e00-\u9fff]/.test(text);
const rules = Object.keys(en).filter((word) => word.startsWith("rule_"));

test("every rule has its meaning in Chinese, and no other has sentences", () => {
  const known = rules.map((word) => word.slice("rule_".length)).sort();
  expect(Object.keys(WHY).sort()).toEqual(known);
  for (const name of [...Object.keys(SAID), ...NAMES_THINGS]) expect(known).toContain(name);
  for (const each of Object.values(WHY)) expect(isChinese(each), each).toBe(true);
});

test("every number of a sentence has a name", () => {
  const texts = Object.values(SAID).flat();
  const names = texts.flatMap((each) => [...each.matchAll(/\{(\w+)(:%)?\}/g)].map((m) => m[1]!));
  for (const name of names) expect(NUMBERS, name).toHaveProperty(name);
  for (const text of [...texts, ...Object.values(NUMBERS)])
    expect(isChinese(text), text).toBe(true);
});

const finding = (rule: string, evidence: Record<string, unknown>, status = "triggered") =>
  findingInChinese({ rule, evidence, status } as Parameters<typeof findingInChinese>[0]);

test("a finding is said with its numbers, by the first sentence whose numbers are all there", () => {
  const numbers = { condition_number: 100, factor: 0.98, speed_up: 5 };
  expect(finding("ill_conditioned", numbers)).toContain(
    "条件数约为 100；差距每步变为原来的 0.98 倍，用动量所需步数约为现在的 1/5。",
  );
  expect(finding("ill_conditioned", { ...numbers, speed_up: null })).toBe(
    `${WHY.ill_conditioned}条件数约为 100。`,
  );
  expect(finding("ill_conditioned", {})).toBe(WHY.ill_conditioned);
  expect(finding("dead_units", { dead: 0.625 })).toContain("62.5 % 的隐藏单元");
});

test("a finding that is clear says what it would mean, an unknown rule nothing", () => {
  expect(finding("plateau", {}, "clear")).toBe(`触发时意味着：${WHY.plateau}`);
  expect(finding("of_tomorrow", {})).toBeNull();
});

test("a remedy is said by what it changes, and in which direction", () => {
  const spec = { optimizer: { kind: "sgd", lr: 0.1, momentum: 0 }, gradient_clip: null, seed: 1 };
  const said = (patch: Record<string, unknown>) => remedyInChinese(patch, spec);
  expect(said({ optimizer: { lr: 0.01 } })).toContain("更小的学习率");
  expect(said({ optimizer: { lr: 0.2 } })).toContain("更大的学习率");
  expect(said({ optimizer: { lr: 0.2, momentum: 0.9 } })).toMatch(/更大的学习率.*动量沿平缓/);
  expect(said({ gradient_clip: { kind: "norm", max_norm: 1 } })).toContain("裁剪");
  expect(said({ batch_size: "full" })).toContain("全部数据");
  expect(said({ seed: 2 })).toContain("种子");
  expect(said({ problem: { loss: { delta: 2 } } })).toBeNull();
});

test("what a remedy can be said to do is Chinese", () => {
  for (const { smaller, larger, other } of REMEDIES) {
    const said = [smaller, larger, other].filter((each) => each !== undefined);
    expect(said.length).toBeGreaterThan(0);
    for (const each of said) expect(isChinese(each), each).toBe(true);
  }
});

test("an effect is said by the measure that decided", () => {
  const compared = (verdict: string, measure: string, before: object, after: object) =>
    effectInChinese({ verdict, measure, before, after, reason: "" } as unknown as Parameters<
      typeof effectInChinese
    >[0]);
  expect(compared("improved", "loss", { final_loss: 3 }, { final_loss: 1 })).toBe(
    "结束时的损失为 1，原来为 3。",
  );
  const steps = [{ steps_to_parents_best: 9 }, { steps_to_parents_best: 4 }] as const;
  expect(compared("improved", "steps", ...steps)).toContain("用了 4 步，原来用了 9 步");
  expect(compared("worse", "outcome", {}, {})).toContain("发散了，而父任务没有");
  expect(compared("worse", "eval_loss", { eval_loss: 1 }, { eval_loss: 2 })).toContain("评估损失");
  expect(compared("no_change", "loss", {}, {})).toBeNull();
});

test("a saddle point seen on the coordinates' scales is said with the number that tells it", () => {
  const numbers = { smallest_eigenvalue: 3e-8, resolution: 1e-6, smallest_scaled_eigenvalue: -2 };
  const said = finding("negative_curvature", numbers);
  expect(said).toContain("最小特征值为 −2");
  expect(said).not.toContain("3e");
});

test("a lower loss is said to be known, wherever it was seen", () => {
  const said = finding("above_known_minimum", { loss: 2, lower_loss_known: 1 });
  expect(said).toContain("损失停在 2，而已知同一模型有更低的损失 1。");
});
