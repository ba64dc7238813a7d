/** A sentence of the service: in English, or in Chinese where that is chosen and known. */
import { lang } from "../i18n";
import { Coded, plainOf } from "./coded";

/** `isBoth`: the English names things that the Chinese does not. */
type Props = { english: string; chinese: string | null; isBoth?: boolean; class?: string };

export function Said({ english, chinese, isBoth, class: name }: Props) {
  if (lang.value !== "zh" || chinese === null)
    return (
      <p class={name} lang="en">
        <Coded text={english} />
      </p>
    );
  return (
    <>
      <p class={name} title={plainOf(english)}>
        <Coded text={chinese} />
      </p>
      {isBoth && (
        <p lang="en" class="muted">
          <Coded text={english} />
        </p>
      )}
    </>
  );
}
