/** Why a study has a winner, or none, said in Chinese: by what became of each configuration. */
import type { StudyComparison } from "../api/types";
import { asNumber, short } from "../ui/numbers";

type Row = StudyComparison["configurations"][number];
type Told = Pick<StudyComparison, "complete" | "configurations" | "leader" | "winner" | "problems">;
type NameOf = (params: Row["params"]) => string;

const MOST_NAMED = 5;

/** The `reason` of a comparison in Chinese, but for the repeats that might settle it; null where only its
 * English tells. */
export function reasonInChinese(comparison: Told, nameOf: NameOf): string | null {
  const rows = comparison.configurations;
  if (rows.length === 0) return "尚未安排任何运行。";
  if (comparison.problems !== null)
    return `各配置的问题有 ${comparison.problems.length} 种，一种问题上的指标不能说明另一种：请看各问题自己的比较和全部问题的性能曲线。`;
  const said = decided(comparison, nameOf);
  const stopped = rows.filter(isStopped).length;
  return said && stopped ? `${said}${stopped} 个配置提前停止，没有参加最后的比较。` : said;
}

function decided({ complete, configurations: rows, leader, winner }: Told, nameOf: NameOf) {
  const sum = (name: "num_pending" | "num_diverged" | "num_failed"): number =>
    rows.reduce((all, each) => all + each[name], 0);
  const pending = sum("num_pending");
  if (!complete || pending)
    return pending ? `研究尚未结束：还有 ${pending} 次运行没有结束。` : "研究尚未结束。";
  const cancelled = rows.reduce((all, each) => all + each.num_cancelled - each.num_stopped, 0);
  if (cancelled) return `有 ${cancelled} 次运行在结束前被取消。`;
  const first = rows.find((each) => each.configuration === leader);
  if (!first) {
    const [diverged, failed] = [sum("num_diverged"), sum("num_failed")];
    return `没有一次运行得到指标的值：${diverged} 次发散，${failed} 次失败。`;
  }
  const lead = named([first], nameOf);
  if (hasLost(first))
    return `没有配置完成全部重复。${lead}失去的运行最少，但剩下的运行不能代表发散或失败的那些。`;
  if (isStopped(first)) return `没有配置的全部重复都运行到结束；${lead}是最后停止的。`;
  const others = rows.filter((each) => each !== first);
  if (others.length === 0) return "只有一个配置，无从比较。";
  if (rows.every((each) => each.values.length <= 1)) {
    const gap = Math.abs(Number(asNumber(others[0]!.mean)) - Number(asNumber(first.mean)));
    return others[0]!.mean === null
      ? `只有${lead}有值，而一次重复说明不了波动。`
      : `${lead}领先 ${short(gap)}，但一次重复说明不了波动。`;
  }
  const compared = others.filter((each) => isDistinct(each) !== null);
  if (winner !== null) return won(others, compared, lead);
  const isOpen = (each: Row): boolean =>
    isDistinct(each) === false ||
    (isDistinct(each) === null && each.survivors !== null && lostByFailure(each));
  const open = others.filter(isOpen);
  if (open.length)
    return `${lead}领先，但与其他 ${open.length} 个无法区分：${named(open, nameOf)}。`;
  return others.some(isStopped)
    ? `只有${lead}训练到了结束；提前停止说明不了其他配置会停在哪里。`
    : null;
}

function won(others: readonly Row[], compared: readonly Row[], lead: string): string {
  const lost = others.filter((each) => isDistinct(each) === null && hasLost(each)).length;
  const more = lost ? `另有 ${lost} 个失去了运行，不能获胜。` : "";
  return compared.length
    ? `${lead}与参加比较的其他 ${compared.length} 个配置都有区别。${more}`
    : `只有${lead}没有失去任何运行。${more}`;
}

const hasLost = (row: Row): boolean => row.num_diverged + row.num_failed > 0;
const lostByFailure = (row: Row): boolean => row.num_failed > 0 && row.num_diverged === 0;
const isStopped = (row: Row): boolean => row.num_stopped > 0 && !hasLost(row);

/** Whether it is told apart from the leader; null where it was not compared. */
const isDistinct = (row: Row): boolean | null =>
  (row.difference_to_leader?.distinguishable ?? null) as boolean | null;

function named(rows: readonly Row[], nameOf: NameOf): string {
  const names = rows.slice(0, MOST_NAMED).map((each) => {
    const words = nameOf(each.params);
    return `配置 ${each.configuration}${words && `（${words}）`}`;
  });
  const more = rows.length - names.length;
  return names.join("、") + (more ? `等 ${rows.length} 个` : "");
}
