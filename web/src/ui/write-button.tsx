/** A button that changes something. Where the key may only read it cannot be pressed, and says why. */
import type { ButtonHTMLAttributes } from "preact";
import { mayWrite } from "../api/client";
import { t } from "../i18n";

export function WriteButton(props: ButtonHTMLAttributes<HTMLButtonElement>) {
  if (mayWrite.value) return <button type="button" {...props} />;
  return <button type="button" {...props} disabled title={t("readOnlyKey")} />;
}
