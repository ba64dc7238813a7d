/** Where in a run something was found: findings that name their steps, interventions, the place where
 * the loss stopped being finite. */
import type { Finding, Job } from "../api/types";
import type { Flag } from "../charts/plot";
import { named, t } from "../i18n";
import { tone } from "../ui/status";

const COLOUR: Record<string, string> = { good: "good", warn: "warn", bad: "bad" };
/** The rule whose finding is the outcome. */
const DIVERGED = "diverged";

export function stepsOf({ steps }: Finding): [number, number] | null {
  return steps?.length === 2 ? [steps[0]!, steps[1]!] : null;
}

export function flagsOf(job: Job): Flag[] {
  const found: Flag[] = [];
  const colour = COLOUR[tone(job.diagnosis?.verdict ?? "")] ?? "warn";
  const end = job.outcome === "diverged" && job.latest ? job.latest.step : null;
  let isEndTold = false;
  for (const finding of job.diagnosis?.findings ?? []) {
    const steps = finding.status === "triggered" ? stepsOf(finding) : null;
    if (!steps) continue;
    let [from, to] = steps;
    if (finding.rule === DIVERGED && end !== null) {
      to = Math.max(to, end); // the rule and the outcome are one thing, and are told as one
      isEndTold = true;
    }
    found.push({ from, to, label: named("rule", finding.rule), colour });
  }
  for (const each of job.interventions ?? []) {
    const label = named("action", each.action);
    found.push({ from: each.step, to: each.step, label, colour: "warn" });
  }
  if (end !== null && !isEndTold) {
    found.push({ from: end, to: end, label: t("outcome_diverged"), colour: "bad" });
  }
  return found;
}
