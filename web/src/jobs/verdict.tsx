/** The diagnosis: verdict, what it rests on, remedies to try, and what a tried one has changed. */
import { useState } from "preact/hooks";
import { post, ROOT } from "../api/client";
import type { Finding, Job, Remedy } from "../api/types";
import { tell } from "../app/notices";
import { go } from "../app/router";
import { lang, named, t } from "../i18n";
import { NAMES_THINGS } from "../i18n/zh-diagnosis";
import { short, shown } from "../ui/format";
import { Said } from "../ui/said";
import { tone, VerdictWord } from "../ui/status";
import { WriteButton } from "../ui/write-button";
import { at, leaves } from "./patches";
import { effectInChinese, findingInChinese, numberInChinese, remedyInChinese } from "./said";

export function Verdict({ job }: { job: Job }) {
  const found = job.diagnosis;
  if (!found) {
    const isAsked = job.spec.diagnose !== "off";
    const text = !isAsked
      ? t("noVerdict")
      : t(job.finished_at === null ? "verdictLater" : "noVerdictEver");
    return (
      <section class="card">
        <h2>{t("diagnosis")}</h2>
        <p class="muted">{text}</p>
      </section>
    );
  }
  const triggered = found.findings.filter((each) => each.status === "triggered");
  const others = found.findings.filter((each) => each.status !== "triggered");
  return (
    <section class={`card verdict-card edge-${tone(found.verdict)}`}>
      <h2>{t("diagnosis")}</h2>
      <p class="verdict-line">
        <VerdictWord verdict={found.verdict} />
        {job.finished_at === null && <span class="muted">{t("soFar")}</span>}
        {typeof found.confidence === "number" && found.verdict !== "undetermined" && (
          <span class="muted" title={t("confidenceTitle")}>
            {t("confidence", { n: short(100 * found.confidence, 3) })}
          </span>
        )}
      </p>
      <p>{named("means", found.verdict)}</p>
      {found.remedies.map((each) => (
        <RemedyItem key={each.index} job={job} remedy={each} />
      ))}
      {triggered.map((each) => (
        <FindingItem key={each.rule} finding={each} />
      ))}
      {others.length > 0 && (
        <details>
          <summary>{t("otherRules", { n: others.length })}</summary>
          {others.map((each) => (
            <FindingItem key={each.rule} finding={each} />
          ))}
        </details>
      )}
    </section>
  );
}

function FindingItem({ finding }: { finding: Finding }) {
  const evidence = Object.entries(finding.evidence).filter(([, value]) => value !== null);
  return (
    <div class={`finding finding-${finding.status}`}>
      <h3>
        {named("rule", finding.rule)}
        {finding.status !== "triggered" && (
          <span class="muted"> · {named("finding", finding.status)}</span>
        )}
      </h3>
      <Said
        english={finding.explanation}
        chinese={findingInChinese(finding)}
        isBoth={NAMES_THINGS.has(finding.rule)}
      />
      {evidence.length > 0 && (
        <dl class="evidence num">
          {evidence.map(([name, value]) => (
            <div key={name}>
              <NumberName name={name} />
              <dd>{shown(value)}</dd>
            </div>
          ))}
        </dl>
      )}
      {finding.source && (
        <p class="source muted small" lang="en">
          {finding.source}
        </p>
      )}
    </div>
  );
}

function NumberName({ name }: { name: string }) {
  const chinese = lang.value === "zh" ? numberInChinese(name) : null;
  return chinese ? <dt>{chinese}</dt> : <dt lang="en">{name.replaceAll("_", " ")}</dt>;
}

function RemedyItem({ job, remedy }: { job: Job; remedy: Remedy }) {
  const [isSent, setSent] = useState(false);
  const apply = async (): Promise<void> => {
    setSent(true);
    try {
      const child = await post<Job>(`/v1/jobs/${job.id}/remedies/${remedy.index}/apply`);
      go(`/jobs/${child.id}`);
    } catch (error) {
      tell(error);
      setSent(false);
    }
  };
  return (
    <div class="remedy">
      <h3>{t("remedy")}</h3>
      <ul class="patch mono">
        {leaves(remedy.patch).map(([path, value]) => (
          <li key={path}>
            {path} <span class="muted">{shown(at(job.spec, path))} →</span> <b>{shown(value)}</b>
          </li>
        ))}
      </ul>
      <Said english={remedy.reason} chinese={remedyInChinese(remedy.patch, job.spec)} />
      {job.finished_at !== null && (
        <WriteButton class="primary" disabled={isSent} onClick={() => void apply()}>
          {t(isSent ? "sending" : "applyRemedy")}
        </WriteButton>
      )}
    </div>
  );
}

/** What the remedy that this job tries has changed, beside the job that it comes from. */
export function BeforeAfter({ job }: { job: Job }) {
  if (!job.parent_id) return null;
  const found = job.diagnosis?.compared_to_parent;
  const why = job.diagnosis?.not_compared;
  return (
    <section class={`card edge-${found ? EFFECT[found.verdict] : "calm"}`}>
      <h2>{t("beforeAfter")}</h2>
      <p>
        {t("comesFrom")}{" "}
        <a class="mono" href={`${ROOT}/jobs/${job.parent_id}`}>
          {job.parent_id}
        </a>
      </p>
      {found && (
        <>
          <p class="verdict-line">
            <span class={`verdict tone-${EFFECT[found.verdict]}`}>
              {named("effect", found.verdict)}
            </span>
          </p>
          <Said english={found.reason} chinese={effectInChinese(found)} />
          <BeforeAfterTable before={found.before} after={found.after} />
        </>
      )}
      {why && <Said english={why} chinese={null} />}
    </section>
  );
}

const EFFECT = { improved: "good", no_change: "calm", worse: "bad" } as const;

type Values = Record<string, unknown>;

function BeforeAfterTable({ before, after }: { before: Values; after: Values }) {
  const isKnown = (name: string): boolean => (before[name] ?? after[name] ?? null) !== null;
  const names = Object.keys(after).filter(isKnown);
  return (
    <table class="small-table num">
      <thead>
        <tr>
          <td />
          <th scope="col" class="right">
            {t("before")}
          </th>
          <th scope="col" class="right">
            {t("after")}
          </th>
        </tr>
      </thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <th scope="row">{named("series", name)}</th>
            <td class="right">{worded(name, before[name])}</td>
            <td class="right">{worded(name, after[name])}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function worded(name: string, value: unknown): string {
  if (typeof value === "number") return short(value);
  if (typeof value !== "string") return shown(value);
  if (name === "verdict") return named("verdict", value);
  return name === "outcome" ? named("outcome", value) : shown(value);
}
