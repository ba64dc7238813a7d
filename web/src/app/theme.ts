/** Light or dark: the system's choice, unless another is made. */
import { computed, effect, signal } from "@preact/signals";
import { stored } from "./stored";

export type Theme = "system" | "light" | "dark";
export const theme = stored<Theme>("theme", "system", (value): value is Theme =>
  ["system", "light", "dark"].includes(value),
);
const system = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(system.matches);
system.addEventListener("change", () => {
  systemIsDark.value = system.matches;
});
export const isDark = computed(() =>
  theme.value === "system" ? systemIsDark.value : theme.value === "dark",
);
effect(() => {
  document.documentElement.dataset.theme = isDark.value ? "dark" : "light";
});

export function nextTheme(): void {
  theme.value = isDark.value ? "light" : "dark";
}

/** The value of a colour of the style sheet, for what is drawn on a canvas. */
export const colour = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
