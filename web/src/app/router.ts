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
addEventListener("popstate", read);

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
  if (replace) history.replaceState(null, "", ROOT + to);
  else history.pushState(null, "", ROOT + to);
  const before = path.peek();
  read();
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
  event.preventDefault();
  go(own(url.pathname) + url.search);
});
