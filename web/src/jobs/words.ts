/** A job in a few words. */

import type { ListedJob } from "../api/types";
import { asNumber, count, short } from "../ui/format";

type Spec = ListedJob["spec"];

export function problemWords(spec: Spec): string {
  const { problem } = spec;
  if (problem.kind === "function") {
    const { function: of } = problem;
    if (of.kind === "expression") return of.expression;
    const dim = "dim" in of ? of.dim : "eigenvalues" in of ? of.eigenvalues?.length : undefined;
    return dim ? `${of.kind} ${dim}-D` : of.kind;
  }
  const { data, model } = problem;
  const name = "name" in data ? data.name : data.kind;
  return `${name} · ${modelWords(model)}`;
}

function modelWords(model: { kind: string; hidden?: unknown }): string {
  const hidden = Array.isArray(model.hidden) ? model.hidden : [];
  return hidden.length ? `${model.kind} ${hidden.join("×")}` : model.kind;
}

export function optimizerWords(spec: Spec): string {
  const { optimizer } = spec;
  const rate = "lr" in optimizer ? optimizer.lr : undefined;
  if (rate === undefined) return optimizer.kind;
  return `${optimizer.kind} · lr ${typeof rate === "number" ? short(rate) : rate}`;
}

export const titleOf = (job: Pick<ListedJob, "name" | "spec">): string =>
  job.name || problemWords(job.spec);

/** What is best so far, and of which series: where rows are kept for evaluation, not of `loss`. */
export function bestOf(
  job: Pick<ListedJob, "best" | "data">,
): { series: string; value: number | null } | null {
  const { best } = job;
  if (!best) return null;
  if (!("loss" in best)) return { series: best.metric, value: asNumber(best.value) };
  const evaluated = (job.data?.num_rows.eval ?? 0) > 0;
  return { series: evaluated ? "eval.loss" : "loss", value: asNumber(best.loss) };
}

/** Steps done, of how many. */
export function stepWords(job: Pick<ListedJob, "progress">): string {
  const { step, max_steps } = job.progress;
  return max_steps ? `${count(step)} / ${count(max_steps)}` : count(step);
}

/** `job_01k…` without its middle. */
export const shortId = (id: string): string => `${id.slice(0, 4)}…${id.slice(-6)}`;
