/** Predictions of rows that are pasted, with the weights of the job. */
import { useState } from "preact/hooks";
import { get, hasKey, post, ROOT, save } from "../api/client";
import { write } from "../api/json";
import type { Job, Prediction } from "../api/types";
import { words } from "../app/notices";
import { t } from "../i18n";
import { Coded } from "../ui/coded";
import { asNumber, count, short, shown } from "../ui/format";
import { WriteButton } from "../ui/write-button";
import { featuresOf, UnevenRows } from "./pasted";

const WAIT_S = 20;
const SHOWN = 50;
const PROBLEMS = new Set(["supervised", "reconstruction", "forecast", "language_model"]);

export function Predict({ job }: { job: Job }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<Prediction | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const kind = job.spec.problem.kind;
  if (job.finished_at === null || !job.result || !PROBLEMS.has(kind)) return null;
  const hint = { forecast: "seriesHint", language_model: "textHint" } as const;
  const predict = async (): Promise<void> => {
    setBusy(true);
    setProblem(null);
    setFound(null); // what is shown below is of the rows that stand above
    try {
      const features = featuresOf(kind, text);
      let made = await post<Prediction>(`/v1/jobs/${job.id}/predictions?wait=${WAIT_S}`, {
        features,
      });
      while (made.status === "queued" || made.status === "running") {
        made = await get<Prediction>(`/v1/predictions/${made.id}?wait=${WAIT_S}`);
      }
      setFound(made);
      if (made.error) setProblem(made.error.message);
    } catch (error) {
      setProblem(problemWords(error));
    }
    setBusy(false);
  };
  return (
    <section class="card predict" aria-label={t("predict")}>
      <h2>{t("predict")}</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void predict();
        }}
      >
        <textarea
          rows={4}
          value={text}
          spellcheck={false}
          aria-label={t("rowsToPredict")}
          placeholder={t(hint[kind as keyof typeof hint] ?? "rowsHint")}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <p class="row actions">
          <WriteButton type="submit" class="primary" disabled={isBusy || !text.trim()}>
            {t(isBusy ? "sending" : "predict")}
          </WriteButton>
          {found?.data && (
            <button
              type="button"
              onClick={() => {
                const content = write(found.data);
                save(new Blob([content], { type: "application/json" }), `${found.id}.json`);
              }}
            >
              JSON
            </button>
          )}
          <button
            type="button"
            class="quiet"
            disabled={!text.trim()}
            onClick={() =>
              void copyCurl(job, text).catch((error) => setProblem(problemWords(error)))
            }
          >
            {t("copyCurl")}
          </button>
        </p>
      </form>
      {problem && (
        <p class="banner bad" role="alert" lang="en">
          <Coded text={problem} />
        </p>
      )}
      {found?.data && <Predicted found={found} />}
    </section>
  );
}

function problemWords(error: unknown): string {
  if (error instanceof UnevenRows) {
    const { line: n, cells, wanted } = error;
    return `${t("notRows")} ${t("unevenRows", { line: n, cells, wanted })}`;
  }
  return error instanceof SyntaxError ? `${t("notRows")} ${error.message}` : words(error);
}

async function copyCurl(job: Job, text: string): Promise<void> {
  const key = hasKey() ? ' -H "Authorization: Bearer $THALWEG_KEY"' : "";
  const body = write({ features: featuresOf(job.spec.problem.kind, text) }).replaceAll(
    "'",
    "'\\''",
  );
  const address = `${location.origin}${ROOT}/v1/jobs/${job.id}/predictions?wait=${WAIT_S}`;
  await navigator.clipboard.writeText(
    `curl -s${key} -H 'Content-Type: application/json' '${address}' -d '${body}'`,
  );
}

type Cells = { class?: unknown; value?: unknown; probabilities?: unknown[] | null };

function Predicted({ found }: { found: Prediction }) {
  const rows = (found.data ?? []) as Cells[];
  const hasShares = rows.some((row) => row.probabilities?.length);
  return (
    <>
      <table class="small-table" aria-live="polite">
        <thead>
          <tr>
            <th scope="col" class="right">
              {t("row")}
            </th>
            <th scope="col">{t("prediction")}</th>
            {hasShares && (
              <th scope="col" class="right">
                {t("probability")}
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, SHOWN).map((row, i) => (
            <tr key={i}>
              <td class="num right">{i + 1}</td>
              <td class="num">{"class" in row ? token(row.class) : shown(row.value)}</td>
              {hasShares && <td class="num right">{likeliest(row.probabilities)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > SHOWN && (
        <p class="muted small">{t("firstOf", { n: SHOWN, total: count(rows.length) })}</p>
      )}
    </>
  );
}

/** A class; one of blanks, as a text's token may be, is seen by its quotes. */
const token = (name: unknown): string =>
  typeof name === "string" && name.trim() !== name ? JSON.stringify(name) : shown(name);

function likeliest(probabilities: unknown[] | null | undefined): string {
  if (!probabilities?.length) return "–";
  const most = Math.max(...probabilities.map((each) => asNumber(each) ?? Number.NaN));
  return most < 1 && most >= 0.9995 ? "> 0.999" : short(most, 3); // not called certain
}
