/** A card with a table that may be wider than the page: it scrolls, by keys too. */
import type { ComponentChildren } from "preact";

type Props = { label: string; children: ComponentChildren };

export const Scrolled = ({ label, children }: Props) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by keyboard
  <section class="card flush scroll" tabIndex={0} aria-label={label}>
    {children}
  </section>
);
