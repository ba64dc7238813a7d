/** What a model makes of rows that it was not trained on: metrics of the test, and confusion matrices. */
import type { Job } from "../api/types";
import { named, t, type Word } from "../i18n";
import { asNumber, count, short, shown } from "../ui/format";
import { Scrolled } from "../ui/scrolled";

type Metrics = Record<string, unknown>;
type Matrix = readonly (readonly number[])[];
const MATRIX = "confusion_matrix";
/** Classes of a matrix that are shown. */
const MOST = 40;

export function HeldOut({ job }: { job: Job }) {
  const { result, data } = job;
  if (!result) return null;
  const measured = result.test as { best: Metrics | null; final: Metrics } | null | undefined;
  // Where the best weights are the final ones, they are shown once.
  const isSame = JSON.stringify(measured?.best) === JSON.stringify(measured?.final);
  const test = measured && isSame ? { ...measured, best: null } : measured;
  const found: [Word, Metrics | null | undefined][] = [
    ["ofEvaluation", result.eval as Metrics | null],
    ["ofTestBest", test?.best],
    ["ofTestFinal", test?.final],
  ];
  const classes = (data?.classes ?? []) as unknown[];
  return (
    <>
      {test && <Test best={test.best} final={test.final} numRows={data?.num_rows.test ?? 0} />}
      {found.map(([word, metrics]) => {
        const matrix = metrics?.[MATRIX];
        if (!Array.isArray(matrix)) return null;
        return <Confusion key={word} title={t(word)} matrix={matrix as Matrix} classes={classes} />;
      })}
    </>
  );
}

type TestProps = { best: Metrics | null; final: Metrics; numRows: number };

function Test({ best, final, numRows }: TestProps) {
  const names = Object.keys(final).filter((name) => name !== "step" && name !== MATRIX);
  const step = (of: Metrics): string => t("atStep", { n: count(asNumber(of.step) ?? 0) });
  return (
    <section class="card" aria-label={t("test")}>
      <h2>
        {t("test")} <span class="muted">· {t("testRows", { n: count(numRows) })}</span>
      </h2>
      <table class="small-table num">
        <thead>
          <tr>
            <td />
            {best && (
              <th scope="col" class="right">
                {t("checkpoint_best")} <span class="muted">{step(best)}</span>
              </th>
            )}
            <th scope="col" class="right">
              {t("checkpoint_final")} <span class="muted">{step(final)}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {names.map((name) => (
            <tr key={name}>
              <th scope="row">{named("metric", name)}</th>
              {best && <td class="right">{short(asNumber(best[name]))}</td>}
              <td class="right">{short(asNumber(final[name]))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

type ConfusionProps = { title: string; matrix: Matrix; classes: readonly unknown[] };

/** Rows by class and by chosen class. A cell is the darker the more of its class it has. */
function Confusion({ title, matrix, classes }: ConfusionProps) {
  const total = matrix.flat().reduce((sum, n) => sum + n, 0);
  const right = matrix.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
  const name = (i: number): string => shown(classes[i] ?? i);
  const places = matrix.slice(0, MOST).map((_, i) => i);
  return (
    <Scrolled label={`${t("confusion")}: ${title}`}>
      <h2 class="card-head">
        <span>
          {t("confusion")} <span class="muted">· {title}</span>
        </span>
        <span class="muted num">{t("rightOf", { n: count(right), total: count(total) })}</span>
      </h2>
      <table class="compared confusion num">
        <thead>
          <tr>
            <th scope="col">{t("classByChosen")}</th>
            {places.map((i) => (
              <th key={i} scope="col" class="right">
                {name(i)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {places.map((i) => {
            const row = matrix[i]!;
            const all = row.reduce((sum, n) => sum + n, 0);
            return (
              <tr key={i}>
                <th scope="row">{name(i)}</th>
                {places.map((k) => {
                  const share = all ? row[k]! / all : 0;
                  const ink = `var(--${i === k ? "c1" : "c5"}) ${Math.round(40 * share)}%`;
                  return (
                    <td
                      key={k}
                      class="right"
                      style={{ background: `color-mix(in srgb, ${ink}, transparent)` }}
                    >
                      {count(row[k]!)}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
      {matrix.length > MOST && (
        <p class="muted small">{t("firstOf", { n: MOST, total: count(matrix.length) })}</p>
      )}
    </Scrolled>
  );
}
