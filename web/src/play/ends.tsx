/** What came of a race: a row a racer, and the shape of the function where one of them ended. */
import { useEffect, useState } from "preact/hooks";
import { ApiError, hasKey, ROOT } from "../api/client";
import { write } from "../api/json";
import type { Job } from "../api/types";
import { notify, words } from "../app/notices";
import { named, t } from "../i18n";
import { asNumber, count, short } from "../ui/format";
import { StatusPill, VerdictWord } from "../ui/status";
import type { Shown } from "./contour";
import { type Curvature, circleOf, directionsOf, lengthOf, lineThrough, shapeOf } from "./field";
import { valuesAt } from "./race";
import { type Extents, type FunctionSpec, jobOf, type Point, type Setup } from "./setup";

type TableProps = { of: Setup; shown: readonly Shown[]; step: number; version: number };

export function Ends({ of, shown, step }: TableProps) {
  const [chosen, choose] = useState(0);
  const racer = (shown[chosen] ?? shown[0])?.racer;
  const ended = racer?.job.value;
  return (
    <section class="card play-ends" aria-label={t("playResults")}>
      <div class="table-scroll">
        <table class="small-table">
          <thead>
            <tr>
              <th scope="col">{t("playOptimizer")}</th>
              <th scope="col">{t("diagnosis")}</th>
              <th scope="col" class="right">
                {t("playStep")}
              </th>
              <th scope="col" class="right">
                {t("playValue")}
              </th>
              <th scope="col" class="right">
                {t("playDistance")}
              </th>
              <th scope="col">
                <span class="hidden">{t("copyCurl")}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((each, i) => (
              <Row
                key={each.racer.id}
                shown={each}
                step={step}
                isChosen={i === chosen}
                onChoose={() => choose(i)}
                body={of.optimizers[i] ? jobOf(of, of.optimizers[i]) : null}
              />
            ))}
          </tbody>
        </table>
      </div>
      {ended?.finished_at && (
        <End job={ended} name={shown[chosen]!.name} spec={of.place.spec} extents={of.extents} />
      )}
    </section>
  );
}

type RowProps = {
  shown: Shown;
  step: number;
  isChosen: boolean;
  onChoose: () => void;
  body: object | null;
};

function Row({ shown: { racer, name, colour }, step, isChosen, onChoose, body }: RowProps) {
  const job = racer.job.value;
  const last = Math.min(step, racer.x.length - 1);
  const path = { x: racer.x.slice(0, last + 1), y: racer.y.slice(0, last + 1) };
  return (
    <tr class={isChosen ? "is-chosen" : undefined}>
      <th scope="row">
        <span class="racer-name">
          <span class="racer-dot" style={{ background: `var(--${colour})` }} />
          <button type="button" class="link" aria-pressed={isChosen} onClick={onChoose}>
            {name}
          </button>
        </span>
      </th>
      <td>
        {racer.error.value ? (
          <span class="bad-text">{failureWords(racer.error.value)}</span>
        ) : racer.failing.value ? (
          <span class="bad-text">{words(racer.failing.value)}</span>
        ) : job?.diagnosis ? (
          <VerdictWord verdict={job.diagnosis.verdict} />
        ) : (
          job && <StatusPill status={job.status} outcome={job.outcome} phase={job.phase} />
        )}
      </td>
      <td class="right num">{last >= 0 ? count(last) : "–"}</td>
      <td class="right num">{last >= 0 ? short(racer.loss[last]) : "–"}</td>
      <td class="right num">{last >= 0 ? short(lengthOf(path)) : "–"}</td>
      <td class="right">
        <span class="row end">
          {body && <CopyCurl body={body} name={name} />}
          <a
            href={`${ROOT}/jobs/${encodeURIComponent(racer.id)}`}
            aria-label={t("playJobOf", { name })}
          >
            {t("playJob")}
          </a>
        </span>
      </td>
    </tr>
  );
}

const failureWords = (error: unknown): string =>
  error instanceof ApiError && error.status === 404 ? t("noSuchJob") : words(error);

/** The command that starts the same job; a key stands in it as a variable only. */
export function curlOf(body: object): string {
  const key = hasKey() ? ` -H "Authorization: Bearer $THALWEG_KEY"` : "";
  const text = write(body).replaceAll("'", "'\\''");
  return `curl ${location.origin}${ROOT}/v1/jobs -H 'Content-Type: application/json'${key} -d '${text}'`;
}

function CopyCurl({ body, name }: { body: object; name: string }) {
  const copy = (): void => {
    navigator.clipboard.writeText(curlOf(body)).then(
      () => notify(t("copied")),
      () => notify(t("notCopied"), true),
    );
  };
  return (
    <button
      type="button"
      class="link"
      aria-label={`${t("copyCurl")}: ${name}`}
      title={curlOf(body)}
      onClick={copy}
    >
      curl
    </button>
  );
}

type EndProps = { job: Job; name: string; spec: FunctionSpec; extents: Extents };
const POINTS = 81;

/** Curvature at the point where a racer ended, and the function along both of its directions. */
function End({ job, name, spec, extents }: EndProps) {
  const solution = job.result?.solution;
  const [x, y] = solution ? (Object.values(solution) as unknown[]).map(asNumber) : [];
  const reach = 0.12 * (extents[1] - extents[0]);
  const slices = useSlices(spec, [x ?? Number.NaN, y ?? Number.NaN], reach);
  const measured = job.diagnosis?.measured as Record<string, Curvature> | null | undefined;
  const [least, most] = [measured?.smallest, measured?.largest];
  const shape = least && most ? shapeOf(least, most) : null;
  return (
    <div class="play-end">
      <h2>{t("playEndOf", { name })}</h2>
      <p class="num">
        ({short(x)}, {short(y)}) · {t("value")} {short(asNumber(job.result?.value))}
      </p>
      {least && most && (
        <p>
          {t("playCurvature", {
            least: short(asNumber(least.value)),
            most: short(asNumber(most.value)),
          })}
          {shape && <> {named("shape", shape)}</>}
        </p>
      )}
      {slices && <Slices {...slices} reach={reach} />}
    </div>
  );
}

type Found = { least: Float64Array; most: Float64Array };

/** The function along the directions of its least and largest curvature at a point. */
function useSlices(spec: FunctionSpec, [x, y]: Point, reach: number): Found | null {
  const [found, setFound] = useState<Found | null>(null);
  const key = JSON.stringify(spec);
  useEffect(() => {
    setFound(null);
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    const stop = new AbortController();
    const ask = async (): Promise<void> => {
      const around = await valuesAt(spec, circleOf([x, y], reach / 50), stop.signal);
      const directions = directionsOf(around);
      if (!directions) return;
      const points = [directions.least, directions.most].flatMap((direction) =>
        lineThrough([x, y], direction, reach, POINTS),
      );
      const values = await valuesAt(spec, points, stop.signal);
      setFound({ least: values.subarray(0, POINTS), most: values.subarray(POINTS) });
    };
    ask().catch(() => void 0); // the row and its verdict tell the rest
    return () => stop.abort();
  }, [key, x, y, reach]);
  return found;
}

const [WIDTH, HEIGHT] = [300, 120];

function Slices({ least, most, reach }: Found & { reach: number }) {
  const finite = [...least, ...most].filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const line = (values: Float64Array): string =>
    Array.from(values, (value, i) => {
      const height = (value - low) / (high - low || 1);
      const at = `${((WIDTH * i) / (POINTS - 1)).toFixed(1)} ${(HEIGHT - 8 - (HEIGHT - 16) * height).toFixed(1)}`;
      if (!Number.isFinite(value)) return "";
      return `${i > 0 && Number.isFinite(values[i - 1]) ? "L" : "M"}${at}`;
    }).join("");
  return (
    <figure class="slices">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t("playSlice")}>
        <line x1={WIDTH / 2} x2={WIDTH / 2} y1="0" y2={HEIGHT} class="slice-at" />
        <path d={line(most)} class="slice-most" />
        <path d={line(least)} class="slice-least" />
      </svg>
      <figcaption class="small muted">
        <span class="slice-key slice-least-key" /> {t("playLeast")}{" "}
        <span class="slice-key slice-most-key" /> {t("playMost")} · ±{short(reach, 2)}
      </figcaption>
    </figure>
  );
}
