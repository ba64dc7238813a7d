/** The page's words, in the language that is chosen. */
import { effect } from "@preact/signals";
import { stored } from "../app/stored";
import { en } from "./en";
import { zh } from "./zh";

export type Word = keyof typeof en;
export type Lang = "en" | "zh";
const preferred: Lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
export const lang = stored<Lang>("lang", preferred, (value): value is Lang =>
  ["en", "zh"].includes(value),
);
effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-Hans" : "en";
});

const WORDS: Record<Lang, Record<Word, string>> = { en, zh };

/** A word, or a sentence with what `values` has for its `{names}`. What stands before a `|` is for one, what
 * stands after it for any other number: of `total`, where there is one ("1 of 5 runs"), else of `n`. */
export function t(word: Word, values: Record<string, string | number> = {}): string {
  const [one, many] = WORDS[lang.value][word].split("|");
  const text = String(values.total ?? values.n) === "1" ? one! : (many ?? one!);
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A name that the service gives (a status, a verdict, a rule), in words; itself if none is known. */
export function named(family: string, name: string): string {
  const word = `${family}_${name}`;
  return word in en ? t(word as Word) : name.replaceAll("_", " ");
}
