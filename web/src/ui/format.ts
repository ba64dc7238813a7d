/** Numbers, times and sizes as text. */
import { lang, t } from "../i18n";

export * from "./numbers";

/** How long ago something was. */
export function ago(time: string, now: number): string {
  const s = Math.max(0, (now - Date.parse(time)) / 1000);
  if (s < 5) return t("justNow");
  if (s < 60) return t("agoSeconds", { n: Math.floor(s) });
  if (s < 3600) return t("agoMinutes", { n: Math.floor(s / 60) });
  if (s < 86_400) return t("agoHours", { n: Math.floor(s / 3600) });
  return t("agoDays", { n: Math.floor(s / 86_400) });
}

/** A time in full, in the reader's zone. */
export function moment(time: string | null | undefined): string {
  if (!time) return "–";
  const locale = lang.value === "zh" ? "zh-CN" : "en-GB";
  return new Date(time).toLocaleString(locale, { dateStyle: "medium", timeStyle: "medium" });
}
