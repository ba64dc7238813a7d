/** Where the page is: path and query of the address, as signals. */
import { computed, signal } from "@preact/signals";
import { ROOT } from "../api/client";

const own = (path: string): string =>
  ROOT && path.startsWith(`${ROOT}/`) ? path.slice(ROOT.length) : path;

const address = signal({ path: own(location.pathname), search: location.search });
export const path = computed(() => address.value.path);
export const query = computed(() => new URLSearchParams(address.value.search));

const read = (): void => {
  address.value = { path: own(location.pathname), search: location.search };
};
addEventListener("popstate", () => {
  read();
  if (!location.hash) scrollBack();
});

/** Keep something with this entry of the browser's history: it is there again when one comes back to
 * it, and after a reload. A browser may keep no more (entries of many megabytes, or many changes in a
 * few seconds): then it is not there, and nothing else is amiss. */
export function remember(name: string, value: unknown): void {
  try {
    history.replaceState({ ...history.state, [name]: value }, "");
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
export const remembered = (name: string): unknown => history.state?.[name];

const SCROLL_SAVED_AFTER_MS = 150;
const SCROLL_TRIED_FOR_MS = 3_000;
let saving: ReturnType<typeof setTimeout> | undefined;
addEventListener("scroll", () => {
  clearTimeout(saving);
  saving = setTimeout(() => remember("scroll", Math.round(scrollY)), SCROLL_SAVED_AFTER_MS);
});

/** Scroll to where this entry was left, once the page is long enough again, unless its reader scrolls
 * first. */
export function scrollBack(): void {
  const to = remembered("scroll");
  clearTimeout(saving);
  if (typeof to !== "number" || to === 0) {
    scrollTo(0, 0);
    return;
  }
  const givenUp = new AbortController();
  for (const name of ["wheel", "touchstart", "keydown", "pointerdown"]) {
    addEventListener(name, () => givenUp.abort(), { signal: givenUp.signal });
  }
  const until = performance.now() + SCROLL_TRIED_FOR_MS;
  const attempt = (): void => {
    if (givenUp.signal.aborted) return;
    const isLong = document.documentElement.scrollHeight - innerHeight >= to;
    if (isLong) scrollTo(0, to);
    if (isLong || performance.now() > until) givenUp.abort();
    else requestAnimationFrame(attempt);
  };
  requestAnimationFrame(attempt);
}

/** Paths that the page shows (the server answers to the same ones: `api/page/routes.py`). */
export const VIEWS: readonly RegExp[] = [
  /^\/$/,
  /^\/jobs$/,
  /^\/jobs\/[^/]+$/,
  /^\/compare$/,
  /^\/studies\/[^/]+$/,
  /^\/play$/,
];
const isView = (to: string): boolean => VIEWS.some((each) => each.test(to));

/** Go to a path of the page; `replace` leaves no trace in the browser's history. */
export function go(to: string, { replace = false } = {}): void {
  clearTimeout(saving);
  if (!replace) remember("scroll", Math.round(scrollY));
  const cut = to.includes("?") ? to.indexOf("?") : to.length;
  try {
    if (replace) history.replaceState(history.state, "", ROOT + to);
    else history.pushState(null, "", ROOT + to);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  const before = path.peek();
  // Not read back: browsers leave out changes that come too fast, and the page follows all the same.
  address.value = { path: to.slice(0, cut), search: to.slice(cut) };
  if (!replace && path.peek() !== before) {
    scrollTo(0, 0);
    document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
  }
}

/** Change parts of the query; null takes one out. */
export function setQuery(changes: Record<string, string | string[] | null>, replace = true): void {
  const search = new URLSearchParams(query.peek());
  for (const [name, value] of Object.entries(changes)) {
    search.delete(name);
    for (const each of Array.isArray(value) ? value : value === null ? [] : [value]) {
      search.append(name, each);
    }
  }
  const text = search.toString();
  go(text ? `${path.peek()}?${text}` : path.peek(), { replace });
}

/** Follow a click on a link to one of our own views without loading the page again. */
addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest("a");
  if (!link || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !isView(own(url.pathname))) return;
  if (url.hash) return; // a place on this page
  event.preventDefault();
  go(own(url.pathname) + url.search);
});
