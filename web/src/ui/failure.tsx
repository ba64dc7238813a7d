/** What a view shows in place of what it could not load. */
import type { ComponentChildren } from "preact";
import { ApiError, beginAnew, ROOT } from "../api/client";
import { isPassing } from "../api/persist";
import { words } from "../app/notices";
import { t } from "../i18n";
import { Coded } from "./coded";

type Props = {
  error: unknown;
  /** The title where there is no such thing. */
  missing?: string;
  children?: ComponentChildren;
};

export function Failure({ error, missing, children }: Props) {
  const isMissing = error instanceof ApiError && error.status === 404;
  return (
    <div class="empty" role="alert">
      <h1>{(isMissing && missing) || t("didNotWork")}</h1>
      <FailureWords error={error} />
      {children}
      <a href={`${ROOT}/jobs`}>{t("toTheJobs")}</a>
    </div>
  );
}

/** Answers that another attempt would not change: what was asked is wrong, or not there. */
const LASTING = new Set([400, 404, 422]);

/** Whether somebody may want to ask again, for what is not asked for again by itself. */
const mayPass = (error: unknown): boolean =>
  !isPassing(error) && !(error instanceof ApiError && LASTING.has(error.status));

/** What went wrong, and whether it is tried again, or the button to. */
export function FailureWords({ error }: { error: unknown }) {
  const isOwn = error instanceof ApiError && error.status === 0;
  return (
    <p>
      <span lang={isOwn ? undefined : "en"}>
        <Coded text={words(error)} />
      </span>{" "}
      {isPassing(error) && t("triesAgain")}
      {mayPass(error) && (
        <button type="button" onClick={beginAnew}>
          {t("tryAgain")}
        </button>
      )}
    </p>
  );
}
