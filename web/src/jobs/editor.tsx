/** A form for a job: its spec as JSON, checked by the service while it is typed. Nothing is started
 * before the button is pressed, wherever the text comes from. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, get, hasKey, post, ROOT } from "../api/client";
import { parse, write } from "../api/json";
import { persist } from "../api/persist";
import type { Job, Mistake, ValidatedJob } from "../api/types";
import { notify, tell, words } from "../app/notices";
import { go, remember, remembered } from "../app/router";
import { t } from "../i18n";
import { Coded } from "../ui/coded";
import { FailureWords } from "../ui/failure";
import { bytes, count } from "../ui/format";
import { WriteButton } from "../ui/write-button";
import { EXAMPLES, ExampleCard } from "./examples";
import { lineAt, lineOf, placesIn } from "./places";

const CHECK_AFTER_MS = 250;
const DRAFT_AFTER_MS = 300;

type Props = {
  /** A job whose spec to begin with. */
  from: string | null;
  /** A spec to begin with, as JSON. */
  given: string | null;
};

type Checked = { valid: ValidatedJob | null; mistakes: Mistake[]; failure: string };
const UNCHECKED: Checked = { valid: null, mistakes: [], failure: "" };

export function Editor({ from, given }: Props) {
  const [draft] = useState(() => remembered("draft") as string | undefined);
  const [text, setText] = useState(
    () => draft ?? (given ? pretty(given) : from ? "" : EXAMPLES[0]!.text),
  );
  const [isSent, setSent] = useState(false);
  const [missing, setMissing] = useState<unknown>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    document.title = `${t("newJob")} · Thalweg`;
  });
  useEffect(() => {
    if (!from || draft !== undefined) return;
    const stop = new AbortController();
    const ask = (): Promise<Job> => get(`/v1/jobs/${encodeURIComponent(from)}`, stop.signal);
    let isTold = false;
    const tellOnce = (error: unknown): void => {
      if (!isTold) tell(error);
      isTold = true;
    };
    persist(ask, stop.signal, tellOnce).then(
      (job) => setText(write(job.spec, 2)),
      (error) => stop.signal.aborted || setMissing(error),
    );
    return () => stop.abort();
  }, [from]);
  useEffect(() => {
    if (!text) return; // one that is still to come
    const timer = setTimeout(() => remember("draft", text), DRAFT_AFTER_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const checked = useChecked(text);
  const start = async (): Promise<void> => {
    setSent(true);
    try {
      const job = await post<Job>("/v1/jobs", text);
      remember("draft", text);
      go(`/jobs/${job.id}`);
    } catch (error) {
      tell(error);
      setSent(false);
    }
  };
  const jump = (line: number): void => {
    const begin =
      text
        .split("\n")
        .slice(0, line - 1)
        .join("\n").length + (line > 1 ? 1 : 0);
    const end = text.indexOf("\n", begin);
    area.current?.focus();
    area.current?.setSelectionRange(begin, end < 0 ? text.length : end);
  };
  return (
    <div class="editor">
      <p class="crumbs">
        <a href={`${ROOT}/jobs`}>{t("jobs")}</a> / {t("newJob")}
      </p>
      <div class="head">
        <h1>{t(from ? "cloneTitle" : "newJob")}</h1>
      </div>
      <div class="editor-columns">
        <section class="card editor-main" aria-label={t("spec")}>
          <JsonField text={text} onInput={setText} mistakes={checked.mistakes} area={area} />
        </section>
        <div class="editor-side">
          <section class="card">
            <h2>{t("check")}</h2>
            {text.trim() ? (
              <Findings checked={checked} text={text} onJump={jump} />
            ) : missing !== null ? (
              <div role="alert" class="bad-text">
                <FailureWords error={missing} />
              </div>
            ) : (
              <p class="muted">{t(from ? "loading" : "emptySpec")}</p>
            )}
            <div class="row">
              <WriteButton
                class="primary"
                disabled={isSent || checked.valid === null}
                onClick={() => void start()}
              >
                {t(isSent ? "sending" : "startJob")}
              </WriteButton>
              <CopyCurl text={text} />
            </div>
          </section>
          <section class="card">
            <h2>{t("examples")}</h2>
            {EXAMPLES.map((each) => (
              <ExampleCard key={each.name} example={each} onChoose={() => setText(each.text)} />
            ))}
          </section>
        </div>
      </div>
    </div>
  );
}

/** What the service says of a text, asked once typing pauses. */
function useChecked(text: string): Checked {
  const [checked, setChecked] = useState<Checked>(UNCHECKED);
  useEffect(() => {
    const stop = new AbortController();
    setChecked((before) => ({ ...before, valid: null }));
    if (!text.trim()) {
      setChecked(UNCHECKED);
      return;
    }
    const broken = syntaxMistake(text);
    if (broken) {
      setChecked({ ...UNCHECKED, mistakes: [broken] });
      return;
    }
    const timer = setTimeout(() => {
      const ask = (): Promise<ValidatedJob> => post("/v1/jobs/validate", text, stop.signal);
      const onFailure = (error: unknown): void =>
        setChecked({ valid: null, mistakes: [], failure: words(error) });
      persist(ask, stop.signal, onFailure).then(
        (valid) => setChecked({ valid, mistakes: [], failure: "" }),
        (error: unknown) => {
          if (stop.signal.aborted) return;
          const mistakes = error instanceof ApiError ? error.mistakes : [];
          setChecked({ valid: null, mistakes, failure: mistakes.length ? "" : words(error) });
        },
      );
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return checked;
}

/** The line of a text that is no JSON stands in `param`, after a `#`. */
function syntaxMistake(text: string): Mistake | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    const message = (error as Error).message;
    const position = /position (\d+)/.exec(message)?.[1];
    const isEnd = /end of JSON/i.test(message);
    const line = lineAt(text, position ? Number(position) : isEnd ? text.length : 0);
    return { param: `#${line}`, code: "json", message };
  }
}

const lineOfMistake = (mistake: Mistake, text: string): number =>
  mistake.param.startsWith("#")
    ? Number(mistake.param.slice(1))
    : lineOf(placesIn(text), mistake.param);

type FieldProps = {
  text: string;
  onInput: (text: string) => void;
  mistakes: readonly Mistake[];
  area: preact.RefObject<HTMLTextAreaElement | null>;
};

/** A text with line numbers, where lines with mistakes are marked and say what is wrong. */
function JsonField({ text, onInput, mistakes, area }: FieldProps) {
  const lines = text.split("\n");
  const wrong = useMemo(() => {
    const found = new Map<number, string>();
    for (const each of mistakes) {
      const line = lineOfMistake(each, text);
      found.set(line, [found.get(line), each.message].filter(Boolean).join(" "));
    }
    return found;
  }, [mistakes, text]);
  return (
    <div class="json">
      <div class="json-lines" aria-hidden="true">
        {lines.map((_, i) => (
          <span
            key={i}
            class={wrong.has(i + 1) ? "json-line wrong" : "json-line"}
            title={wrong.get(i + 1)}
          >
            {i + 1}
          </span>
        ))}
      </div>
      <div class="json-text">
        {[...wrong.keys()].map((line) => (
          <span key={line} class="json-band" style={{ top: `${20 * (line - 1) + 8}px` }} />
        ))}
        <textarea
          ref={area}
          aria-label={t("spec")}
          aria-invalid={mistakes.length > 0}
          aria-describedby="mistakes"
          spellcheck={false}
          autocapitalize="off"
          wrap="off"
          rows={lines.length + 1}
          value={text}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      </div>
    </div>
  );
}

type FindingsProps = { checked: Checked; text: string; onJump: (line: number) => void };

function Findings({ checked, text, onJump }: FindingsProps) {
  const { valid, mistakes, failure } = checked;
  return (
    <div id="mistakes" class="check" role="status">
      {valid && (
        <>
          <p class="good-text">✓ {t("isValid")}</p>
          <p class="muted small">
            {t("estimate", {
              parameters: count(valid.estimate.num_parameters),
              steps: count(valid.estimate.num_steps),
              memory: bytes(valid.estimate.memory_bytes),
            })}
          </p>
          {(valid.warnings ?? []).map((each) => (
            <p key={each.message} class="warn-text small" lang="en">
              <Coded text={each.message} />
            </p>
          ))}
        </>
      )}
      {failure && (
        <p class="bad-text">
          <Coded text={failure} />
        </p>
      )}
      {mistakes.map((each) => {
        const line = lineOfMistake(each, text);
        return (
          <p key={each.message} class="mistake">
            <button type="button" class="link" onClick={() => onJump(line)}>
              {t("line", { n: line })}
            </button>{" "}
            <span lang="en">
              <Coded text={each.message} />
            </span>
          </p>
        );
      })}
      {!valid && !failure && !mistakes.length && <p class="muted">{t("checking")}</p>}
    </div>
  );
}

/** The same as a command; a key stands in it as a variable only. */
function CopyCurl({ text }: { text: string }) {
  const copy = (): void => {
    const key = hasKey() ? ` -H "Authorization: Bearer $THALWEG_KEY"` : "";
    const body = compact(text).replaceAll("'", "'\\''");
    const head = `curl ${location.origin}${ROOT}/v1/jobs -H 'Content-Type: application/json'${key}`;
    navigator.clipboard.writeText(`${head} -d '${body}'`).then(
      () => notify(t("copied")),
      () => notify(t("notCopied"), true),
    );
  };
  return (
    <button type="button" onClick={copy}>
      {t("copyCurl")}
    </button>
  );
}

function compact(text: string): string {
  try {
    return write(parse(text));
  } catch {
    return text;
  }
}

function pretty(text: string): string {
  try {
    return write(parse(text), 2);
  } catch {
    return text;
  }
}
