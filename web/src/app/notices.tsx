/** Short notices at the foot of the page: what went wrong, what was done. */
import { signal } from "@preact/signals";
import { ApiError, wantsKey } from "../api/client";
import { t } from "../i18n";
import { Coded } from "../ui/coded";

type Notice = { id: number; text: string; isError: boolean };
const notices = signal<Notice[]>([]);
let count = 0;
const SHOWN_MS = 8_000;
/** Mistakes of a call that are told. */
const TOLD = 5;

export function notify(text: string, isError = false): void {
  const id = ++count;
  notices.value = [...notices.value.slice(-3), { id, text, isError }];
  setTimeout(() => dismiss(id), SHOWN_MS);
}

/** Tell of a failed call; one that was given up on purpose is none. */
export function tell(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (wantsKey(error)) return;
  notify(words(error), true);
}

export function words(error: unknown): string {
  if (error instanceof ApiError && error.status === 0) return t("unreachable");
  if (error instanceof ApiError && error.mistakes.length > 1) {
    const all = error.mistakes.map((each) => each.message);
    return all.slice(0, TOLD).join(" · ") + (all.length > TOLD ? " · …" : "");
  }
  return error instanceof Error ? error.message : String(error);
}

const dismiss = (id: number): void => {
  notices.value = notices.value.filter((each) => each.id !== id);
};

export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((each) => (
        <div key={each.id} class={each.isError ? "notice notice-error" : "notice"}>
          <span>
            <Coded text={each.text} />
          </span>
          <button
            type="button"
            class="quiet"
            aria-label={t("close")}
            onClick={() => dismiss(each.id)}
          >
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
