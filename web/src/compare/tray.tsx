/** Jobs that were put aside to be compared: kept in this tab, shown at the foot of the lists. */
import { signal } from "@preact/signals";
import { ROOT, withQuery } from "../api/client";
import { notify } from "../app/notices";
import { t } from "../i18n";

const KEY = "thalweg.tray";
export const MOST = 100;

function kept(): string[] {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((id) => typeof id === "string").slice(0, MOST) : [];
  } catch {
    return [];
  }
}

export const tray = signal<readonly string[]>(kept());
tray.subscribe((ids) => sessionStorage.setItem(KEY, JSON.stringify(ids)));

export function toggle(id: string): void {
  if (tray.value.includes(id)) untray(id);
  else if (tray.value.length < MOST) tray.value = [...tray.value, id];
  else notify(t("trayFull", { n: MOST }), true);
}

export function untray(id: string): void {
  if (tray.value.includes(id)) tray.value = tray.value.filter((each) => each !== id);
}

export const comparePath = (ids: readonly string[]): string =>
  withQuery("/compare", { job: [...ids] });

/** The box of a row that puts its job into the tray. */
export function TrayBox({ id, name }: { id: string; name: string }) {
  return (
    <input
      type="checkbox"
      class="tray-box"
      checked={tray.value.includes(id)}
      onChange={(event) => {
        toggle(id);
        event.currentTarget.checked = tray.value.includes(id);
      }}
      aria-label={t("compareThis", { name })}
      title={t("compareThis", { name })}
    />
  );
}

export function Tray() {
  const ids = tray.value;
  if (!ids.length) return null;
  return (
    <section class="tray" aria-label={t("tray")}>
      <span>{t("inTray", { n: ids.length })}</span>
      <span class="spacer" />
      <button
        type="button"
        class="quiet"
        onClick={() => {
          tray.value = [];
        }}
      >
        {t("emptyTray")}
      </button>
      {ids.length > 1 ? (
        <a class="button primary" href={ROOT + comparePath(ids)}>
          {t("compare")}
        </a>
      ) : (
        <span class="muted">{t("oneMore")}</span>
      )}
    </section>
  );
}
