/** Asks for a key once the service wants one. It is kept for this tab only. */
import { useEffect, useRef } from "preact/hooks";
import { keyWanted, takeKey } from "../api/client";
import { t } from "../i18n";

export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const why = keyWanted.value;
  useEffect(() => {
    if (why !== null && !dialog.current?.open) dialog.current?.showModal();
    if (why === null) dialog.current?.close();
  }, [why]);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="key-title"
      onCancel={(event) => event.preventDefault()}
      onClose={() => {
        // A browser lets a second Escape close it, though nothing is there to be seen without a key.
        if (keyWanted.value !== null) dialog.current?.showModal();
      }}
    >
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          const field = event.currentTarget.elements.namedItem("key") as HTMLInputElement;
          const key = field.value.trim();
          field.value = "";
          if (key) takeKey(key);
        }}
      >
        <h2 id="key-title">{t("keyTitle")}</h2>
        <p>{t("keyWhy")}</p>
        <p class="muted small" lang="en">
          {why}
        </p>
        <label class="field">
          {t("key")}
          <input name="key" type="password" autocomplete="off" placeholder="thw_…" required />
        </label>
        <div class="row end">
          <button type="submit" class="primary">
            {t("enter")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
