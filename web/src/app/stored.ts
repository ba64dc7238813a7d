/** Choices that last from one visit to the next. */
import { effect, type Signal, signal } from "@preact/signals";

/** A signal whose value is kept in this browser; `isOne` tells what may be read back. */
export function stored<T extends string>(
  name: string,
  initial: T,
  isOne: (value: string) => value is T,
): Signal<T> {
  const key = `thalweg.${name}`;
  const kept = localStorage.getItem(key);
  const made = signal<T>(kept !== null && isOne(kept) ? kept : initial);
  let isFirst = true;
  effect(() => {
    const { value } = made;
    if (!isFirst) localStorage.setItem(key, value);
    isFirst = false;
  });
  return made;
}
