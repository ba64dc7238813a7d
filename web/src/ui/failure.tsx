/** What a view shows in place of what it could not load. */
import type { ComponentChildren } from "preact";
import { ApiError, ROOT } from "../api/client";
import { isPassing } from "../api/persist";
import { words } from "../app/notices";
import { t } from "../i18n";

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

/** What went wrong, and whether it is tried again. */
export function FailureWords({ error }: { error: unknown }) {
  const isOwn = error instanceof ApiError && error.status === 0;
  return (
    <p>
      <span lang={isOwn ? undefined : "en"}>{words(error)}</span>{" "}
      {isPassing(error) && t("triesAgain")}
    </p>
  );
}
