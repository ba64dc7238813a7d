/** What the service says of a run in English, said in Chinese: by rule, numbers and change. */
import type { Diagnosis, Finding, Remedy } from "../api/types";
import { NUMBERS, REMEDIES, SAID, WHY } from "../i18n/zh-diagnosis";
import { asNumber, short } from "../ui/numbers";
import { at, leaves } from "./patches";

type Numbers = Readonly<Record<string, unknown>>;

/** A finding in Chinese; null for a rule that is not known here. */
export function findingInChinese(finding: Pick<Finding, "rule" | "status" | "evidence">) {
  const why = WHY[finding.rule];
  if (why === undefined) return null;
  if (finding.status !== "triggered") return `触发时意味着：${why}`;
  const said = SAID[finding.rule]?.map((each) => filled(each, finding.evidence)).find(Boolean);
  return said ? `${why}${said}` : why;
}

/** A sentence with its numbers; null where one is missing. */
function filled(sentence: string, numbers: Numbers): string | null {
  let isWhole = true;
  const text = sentence.replace(/\{(\w+)(:%)?\}/g, (_, name: string, isShare) => {
    const value = asNumber(numbers[name]);
    if (value === null) isWhole = false;
    else return isShare ? `${short(100 * value, 3)} %` : short(value);
    return "";
  });
  return isWhole ? text : null;
}

export const numberInChinese = (name: string): string | null => NUMBERS[name] ?? null;

/** What a remedy's changes do, in Chinese; null where a change is not known here. */
export function remedyInChinese(patch: Remedy["patch"], spec: unknown): string | null {
  const said = leaves(patch).map(([path, value]) => {
    const before = at(spec, path);
    const known = REMEDIES.find((each) => each.path.test(path));
    if (typeof value !== "number" || typeof before !== "number") {
      return known?.other ?? (typeof value === "number" ? known?.larger : undefined);
    }
    return (value < before ? known?.smaller : known?.larger) ?? known?.other;
  });
  const sentences = new Set(said.filter((each) => each !== undefined));
  return sentences.size ? [...sentences].join("") : null;
}

type Compared = NonNullable<Diagnosis["compared_to_parent"]>;

/** What a tried remedy has changed, in Chinese; null where only its English tells. */
export function effectInChinese({ verdict, measure, before, after }: Compared): string | null {
  if (measure === "outcome") return ENDS[verdict];
  const told = (name: string): [string, string] | null => {
    const pair = [(before as Numbers)[name], (after as Numbers)[name]].map(asNumber);
    return pair.includes(null) ? null : [short(pair[0]), short(pair[1])];
  };
  const steps = measure === "steps" ? told("steps_to_parents_best") : null;
  if (steps) return `达到父任务的最优损失用了 ${steps[1]} 步，原来用了 ${steps[0]} 步。`;
  const losses = measure === "eval_loss" ? ["eval_loss"] : ["full_loss", "final_loss"];
  const name = losses.find((each) => told(each)) ?? "";
  const loss = told(name);
  return loss && `${LOSSES[name]}为 ${loss[1]}，原来为 ${loss[0]}。`;
}

const ENDS = {
  improved: "此次运行没有发散，而父任务发散了。",
  no_change: "两次运行都发散了。",
  worse: "此次运行发散了，而父任务没有。",
} as const;
const LOSSES: Readonly<Record<string, string>> = {
  eval_loss: "结束时的评估损失",
  full_loss: "结束时全部数据上的损失",
  final_loss: "结束时的损失",
};
