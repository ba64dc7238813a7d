/** The playground: optimizers race down a function of two coordinates, each as a job of its own. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, mayWrite, post, wantsKey } from "../api/client";
import { persist } from "../api/persist";
import type { Job, Mistake, ValidatedJob } from "../api/types";
import { notify, tell, words } from "../app/notices";
import { query, setQuery } from "../app/router";
import { lang, named, t } from "../i18n";
import { count } from "../ui/format";
import { WriteButton } from "../ui/write-button";
import { Chooser, colourOf, titlesOf } from "./choose";
import { Contour, type Shown } from "./contour";
import { Ends } from "./ends";
import { type Field, gridOf } from "./field";
import { Race, valuesAt } from "./race";
import {
  type Extents,
  type FunctionSpec,
  jobOf,
  type Point,
  type Setup,
  setupOf,
  variablesOf,
} from "./setup";

const GRID = 121;
const ASK_AFTER_MS = 200;
/** The address is written once a start has rested for so long: browsers limit how often it may be. */
const WRITE_AFTER_MS = 200;
const PLAY_MS = 6_000;

export function PlayPage() {
  const of = useMemo(() => setupOf(query.value), [query.value]);
  const [moved, setMoved] = useState<Point | null>(null);
  const start = moved ?? of.start;
  useEffect(() => {
    document.title = `${t("play")} · Thalweg`;
  });
  useEffect(() => {
    if (!moved) return;
    const timer = setTimeout(() => {
      setQuery({ s: moved.join(","), job: null });
      setMoved(null);
    }, WRITE_AFTER_MS);
    return () => clearTimeout(timer);
  }, [moved]);
  const now: Setup = moved ? { ...of, start, jobs: [] } : of;
  const field = useField(of.place.spec, of.extents);
  const race = useRace(now.jobs);
  const version = race?.version.value ?? 0;
  const shown = useMemo<Shown[]>(() => {
    const titles = titlesOf(of.optimizers);
    return (race?.racers ?? []).map((racer, i) => ({
      racer,
      name: titles[i] ?? racer.id,
      colour: colourOf(i),
    }));
  }, [race, of.optimizers, lang.value]);
  const longest = Math.max(0, ...shown.map(({ racer }) => racer.x.length - 1));
  const scrub = useScrubber(longest, race);
  const { mistakes, general, isSent, begin } = useStart(now, scrub.follow);
  const failure = field.failure || general;
  return (
    <article class="play">
      <header class="head">
        <h1>{t("play")}</h1>
        <span class="spacer" />
        <WriteButton class="primary" disabled={isSent} onClick={begin}>
          {t(isSent ? "sending" : "playRace")}
        </WriteButton>
      </header>
      <p class="muted">{t("playAbout")}</p>
      <div class="play-columns">
        <section class="card" aria-label={t("contour")}>
          {failure && (
            <p class="bad-text" role="alert">
              {failure}
            </p>
          )}
          <Contour
            field={field.found}
            extents={of.extents}
            start={start}
            shown={shown}
            step={scrub.step}
            version={version}
            label={named("place", of.place.name)}
            onMove={setMoved}
            onRace={begin}
          />
          <div class="play-bar">
            <button
              type="button"
              class="icon"
              disabled={!longest}
              aria-label={t(scrub.isPlaying ? "playPause" : "playPlay")}
              onClick={scrub.toggle}
            >
              {scrub.isPlaying ? "❚❚" : "▶"}
            </button>
            <input
              type="range"
              min={0}
              max={Math.max(1, longest)}
              value={scrub.step}
              disabled={!longest}
              aria-label={t("playScrub")}
              onInput={(event) => scrub.to(event.currentTarget.valueAsNumber)}
            />
            <span class="num small muted play-at">
              {t("playAt", { n: count(scrub.step), total: count(longest) })}
            </span>
            <Zoom of={of} />
          </div>
        </section>
        <div class="play-side">
          <Chooser of={of} start={start} mistakes={mistakes} onMove={setMoved} />
        </div>
      </div>
      {shown.length > 0 && <Ends of={of} shown={shown} step={scrub.step} version={version} />}
    </article>
  );
}

function Zoom({ of }: { of: Setup }) {
  const zoom = (by: number): void => {
    const [left, right, bottom, top] = of.extents;
    const [x, y] = [(left + right) / 2, (bottom + top) / 2];
    const [w, h] = [(by * (right - left)) / 2, (by * (top - bottom)) / 2];
    const extents = [x - w, x + w, y - h, y + h].map((each) => Number(each.toPrecision(8)));
    setQuery({ w: extents.join(",") });
  };
  return (
    <span class="row">
      <button type="button" class="icon" aria-label={t("playCloser")} onClick={() => zoom(0.5)}>
        +
      </button>
      <button type="button" class="icon" aria-label={t("playWider")} onClick={() => zoom(2)}>
        −
      </button>
    </span>
  );
}

/** The function over the rectangle, asked for once it rests; the old one stays until then. */
function useField(spec: FunctionSpec, extents: Extents): { found: Field | null; failure: string } {
  const [found, setFound] = useState<Field | null>(null);
  const [failure, setFailure] = useState("");
  const key = JSON.stringify([spec, extents]);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const ask = (): Promise<Float64Array> => valuesAt(spec, gridOf(extents, GRID), stop.signal);
      persist(ask, stop.signal, (error) => setFailure(words(error))).then(
        (values) => {
          setFound({ values, count: GRID, extents });
          setFailure("");
        },
        (error: unknown) => {
          if (stop.signal.aborted || wantsKey(error)) return;
          setFound(null);
          const first = error instanceof ApiError ? error.mistakes[0] : undefined;
          const names = variablesOf(String(spec.expression ?? ""));
          const isCount = first?.param.startsWith("points") && names.length !== 2;
          const told = isCount
            ? t("playVariables", { names: names.join(", ") || "–" })
            : (first?.message ?? words(error));
          setFailure(told);
        },
      );
    }, ASK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key]);
  return { found, failure };
}

/** The race of these jobs; null while there is none. */
function useRace(ids: readonly string[]): Race | null {
  const key = ids.join(" ");
  const race = useMemo(() => (key ? new Race(key.split(" ")) : null), [key]);
  useEffect(() => () => race?.close(), [race]);
  return race;
}

/** Check all racers, then start one job each. Nothing is started where one would be refused. */
function useStart(of: Setup, onStart: () => void) {
  const [mistakes, setMistakes] = useState<string[]>([]);
  const [general, setGeneral] = useState("");
  const [isSent, setSent] = useState(false);
  const isBusy = useRef(false);
  const key = JSON.stringify([of.place.spec, of.start, of.optimizers, of.steps]);
  useEffect(() => {
    setMistakes([]);
    setGeneral("");
  }, [key]);
  const start = async (): Promise<void> => {
    const bodies = of.optimizers.map((each) => jobOf(of, each));
    const found = await Promise.all(
      bodies.map((body) =>
        post<ValidatedJob>("/v1/jobs/validate", body).then(
          (): Mistake[] => [],
          (error: unknown) => {
            if (!(error instanceof ApiError) || !error.mistakes.length) throw error;
            return error.mistakes;
          },
        ),
      ),
    );
    const said = (all: Mistake[]) => [...new Set(all.map((each) => each.message))].join(" ");
    const isOwn = (each: Mistake) => each.param.startsWith("optimizer");
    setMistakes(found.map((all) => said(all.filter(isOwn))));
    setGeneral(said(found.flat().filter((each) => !isOwn(each)))); // of all racers alike: told once
    if (found.some((all) => all.length)) return;
    const titles = titlesOf(of.optimizers);
    const named = bodies.map((body, i) => ({ ...body, name: titles[i]! }));
    const jobs = await Promise.all(named.map((body) => post<Job>("/v1/jobs", body)));
    onStart();
    setQuery({ s: of.start.join(","), job: jobs.map((job) => job.id) }, false);
  };
  const begin = (): void => {
    if (isBusy.current) return;
    if (!mayWrite.value) {
      notify(t("readOnlyKey"), true);
      return;
    }
    isBusy.current = true;
    setSent(true);
    start()
      .catch(tell)
      .finally(() => {
        isBusy.current = false;
        setSent(false);
      });
  };
  return { mistakes, general, isSent, begin };
}

/** The step that is shown: the last one while it follows, else the one that was chosen. */
function useScrubber(longest: number, race: Race | null) {
  const [chosen, choose] = useState<number | null>(null);
  const [isPlaying, setPlaying] = useState(false);
  useEffect(() => {
    choose(null);
    setPlaying(false);
  }, [race]);
  const step = Math.min(chosen ?? longest, longest);
  useEffect(() => {
    if (!isPlaying) return;
    const begun = performance.now() - (PLAY_MS * step) / Math.max(1, longest);
    let frame = 0;
    const draw = (): void => {
      const share = (performance.now() - begun) / PLAY_MS;
      if (share >= 1) {
        choose(null);
        setPlaying(false);
        return;
      }
      choose(Math.floor(share * longest));
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [isPlaying, longest]);
  return {
    step,
    isPlaying,
    follow: () => choose(null),
    to: (at: number) => {
      setPlaying(false);
      choose(at);
    },
    toggle: () => {
      if (!isPlaying && step >= longest) choose(0);
      setPlaying(!isPlaying);
    },
  };
}
