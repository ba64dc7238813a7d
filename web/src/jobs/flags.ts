/** Where in a run something was found: findings that name their steps, interventions, the place where
 * the loss stopped being finite. */
import type { Finding, Job } from "../api/types";
import type { Flag } from "../charts/plot";
import { named, t } from "../i18n";
import { tone } from "../ui/status";

const COLOUR: Record<string, string> = { good: "good", warn: "warn", bad: "bad" };

export function stepsOf({ steps }: Finding): [number, number] | null {
  return steps?.length === 2 ? [steps[0]!, steps[1]!] : null;
}

export function flagsOf(job: Job): Flag[] {
  const found: Flag[] = [];
  const colour = COLOUR[tone(job.diagnosis?.verdict ?? "")] ?? "warn";
  for (const finding of job.diagnosis?.findings ?? []) {
    const steps = finding.status === "triggered" ? stepsOf(finding) : null;
    if (steps) {
      found.push({ from: steps[0], to: steps[1], label: named("rule", finding.rule), colour });
    }
  }
  for (const each of job.interventions ?? []) {
    found.push({
      from: each.step,
      to: each.step,
      label: named("action", each.action),
      colour: "warn",
    });
  }
  if (job.outcome === "diverged" && job.latest) {
    const { step } = job.latest;
    found.push({ from: step, to: step, label: t("outcome_diverged"), colour: "bad" });
  }
  return found;
}
