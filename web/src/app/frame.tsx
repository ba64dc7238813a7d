/** What is around every view: name, ways, the state of the stream, language, theme, key. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { forgetKey, get, hasKey, mayWrite, ROOT, session } from "../api/client";
import { paused, streamState } from "../api/stream";
import type { Version } from "../api/types";
import { Tray } from "../compare/tray";
import { lang, t } from "../i18n";
import { KeyDialog } from "./key";
import { Notices } from "./notices";
import { path } from "./router";
import { isDark, nextTheme } from "./theme";

/** Ways to the views, in the order in which they stand. */
const WAYS = [
  { href: "/jobs", name: "jobs", isAt: /^\/(jobs.*|studies.*)?$/ },
  { href: "/compare", name: "compare", isAt: /^\/compare$/ },
  { href: "/play", name: "play", isAt: /^\/play$/ },
] as const;

export function Frame({ children }: { children: ComponentChildren }) {
  return (
    <>
      <a class="skip" href="#main">
        {t("skip")}
      </a>
      <header class="top">
        <a class="brand" href={`${ROOT}/`} aria-label="Thalweg">
          <Mark />
          <span>Thalweg</span>
        </a>
        <nav aria-label={t("views")}>
          {WAYS.map((way) => (
            <a
              key={way.href}
              href={ROOT + way.href}
              aria-current={way.isAt.test(path.value) ? "page" : undefined}
            >
              {t(way.name)}
            </a>
          ))}
          <a href={`${ROOT}/docs`}>API</a>
        </nav>
        <div class="top-right">
          <Live />
          <button
            type="button"
            class="quiet"
            onClick={() => {
              lang.value = lang.value === "en" ? "zh" : "en";
            }}
            lang={lang.value === "en" ? "zh" : "en"}
          >
            {lang.value === "en" ? "中文" : "English"}
          </button>
          <button
            type="button"
            class="quiet icon"
            onClick={nextTheme}
            aria-label={t(isDark.value ? "toLight" : "toDark")}
            title={t(isDark.value ? "toLight" : "toDark")}
          >
            {isDark.value ? <Sun /> : <Moon />}
          </button>
          <ForgetKey />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {!mayWrite.value && <p class="read-only muted small">{t("readOnlyKey")}</p>}
        {children}
      </main>
      {path.value !== "/compare" && <Tray />}
      <Foot />
      <Notices />
      <KeyDialog />
    </>
  );
}

/** At the head of the page, or, on a phone, at its foot. */
const ForgetKey = () =>
  session.value >= 0 && hasKey() ? (
    <button type="button" class="quiet forget" onClick={forgetKey}>
      {t("forgetKey")}
    </button>
  ) : null;

function Foot() {
  const [version, setVersion] = useState("");
  useEffect(() => {
    get<Version>("/version").then(
      (found) => setVersion(found.version),
      () => setVersion(""),
    );
  }, []);
  return (
    <footer class="foot">
      <span>Thalweg {version}</span>
      <a href={`${ROOT}/docs`}>{t("apiDocs")}</a>
      <ForgetKey />
    </footer>
  );
}

/** Whether what is shown is up to date, and the switch that holds it. */
function Live() {
  const state = streamState.value;
  if (state === null) return null;
  return (
    <span class="live">
      <span class={`live-state live-${state}`} role="status">
        <span class="dot" aria-hidden="true" />
        {t(`stream_${state}`)}
      </span>
      {state !== "ended" && state !== "refused" && (
        <button
          type="button"
          class="quiet"
          aria-pressed={paused.value}
          onClick={() => {
            paused.value = !paused.value;
          }}
        >
          {t(paused.value ? "goOn" : "hold")}
        </button>
      )}
    </span>
  );
}

const Mark = () => (
  <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
    <rect width="32" height="32" rx="7" class="mark-ground" />
    <path d="M5 8c5 0 5 15 11 15S22 8 27 8" class="mark-line" />
    <circle cx="16" cy="23" r="2.6" class="mark-ball" />
  </svg>
);
const Sun = () => (
  <svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" class="glyph">
    <circle cx="10" cy="10" r="3.5" />
    <path d="M10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16M16 4l-1.4 1.4M5.4 14.6 4 16" />
  </svg>
);
const Moon = () => (
  <svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" class="glyph">
    <path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7z" />
  </svg>
);
