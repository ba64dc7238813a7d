/** Why a configuration has no value, in words. */
import { t } from "../i18n";
import type { Unknown } from "./dial";

export function unknownWords({ isStopped, lost }: Unknown): string {
  if (isStopped) return t("stoppedEarly");
  return lost ? t("runsDiverged", { n: lost }) : t("noValue");
}
