/** Calls of the API: the key, errors in words, replies as JSON. */
import { signal } from "@preact/signals";
import { parse, write } from "./json";
import type { Mistake, ProblemDetails } from "./types";

/** Path under which a proxy shows the service; the server writes it into the page. */
export const ROOT = document.documentElement.dataset.root ?? "";
const KEY = "thalweg.key";

/** Why a key is asked for; null while none is. */
export const keyWanted = signal<string | null>(null);
/** Grows when another key is taken, or a failure is to be tried again: views then begin anew. */
export const session = signal(0);
export const beginAnew = (): void => {
  session.value++;
};

/** Whether the key that is used may change something, as far as the service has said. */
export const mayWrite = signal(true);
const SCOPES = "Thalweg-Scopes";

export const hasKey = (): boolean => sessionStorage.getItem(KEY) !== null;

export function takeKey(key: string): void {
  sessionStorage.setItem(KEY, key);
  mayWrite.value = true;
  keyWanted.value = null;
  session.value++;
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
  mayWrite.value = true;
  session.value++;
}

/** A refusal of the API, or no reply at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly mistakes: Mistake[] = [],
  ) {
    super(message);
  }
}

/** Whether a call failed for want of a key: the page asks for one by itself. */
export const wantsKey = (error: unknown): boolean =>
  error instanceof ApiError && error.status === 401;

function headers(more: Record<string, string>): Record<string, string> {
  const key = sessionStorage.getItem(KEY);
  return key === null ? more : { ...more, Authorization: `Bearer ${key}` };
}

/** Send a request; returns the reply if it is a success, raises `ApiError` else. */
export async function send(path: string, options: RequestInit = {}): Promise<Response> {
  let reply: Response;
  const given = (options.headers ?? {}) as Record<string, string>;
  try {
    reply = await fetch(ROOT + path, { ...options, headers: headers(given) });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
  const scopes = reply.headers.get(SCOPES);
  if (scopes !== null) mayWrite.value = /\b(?:write|admin)\b/.test(scopes);
  if (reply.ok || reply.status === 304) return reply;
  throw await refusal(reply);
}

const unreachable = (): ApiError => new ApiError(0, "unreachable", "The service does not answer.");

/** Read a reply's JSON; raises `ApiError` where the connection breaks before it is all there. */
async function bodyOf<T>(reply: Response): Promise<T> {
  try {
    return parse(await reply.text()) as T;
  } catch (error) {
    throw error instanceof TypeError ? unreachable() : error;
  }
}

async function refusal(reply: Response): Promise<ApiError> {
  let problem: Partial<ProblemDetails> = {};
  try {
    problem = await reply.json();
  } catch {
    // a proxy's page: the status alone tells
  }
  const message = problem.detail ?? `${reply.status} ${reply.statusText}`;
  if (reply.status === 401) keyWanted.value = message;
  const mistakes = (problem.errors ?? []) as Mistake[];
  return new ApiError(reply.status, problem.code ?? "unknown", message, mistakes);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const reply = await send(path, signal ? { signal } : {});
  return bodyOf<T>(reply);
}

export async function post<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return change<T>("POST", path, body, signal);
}

export async function change<T>(
  method: "POST" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const options: RequestInit = { method };
  if (signal) options.signal = signal;
  if (body !== undefined) {
    options.body = typeof body === "string" ? body : write(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const reply = await send(path, options);
  return reply.status === 204 ? (undefined as T) : bodyOf<T>(reply);
}

/** Save a file of the API: a plain link could not carry the key. */
export async function download(path: string, name: string): Promise<void> {
  save(await (await send(path)).blob(), name);
}

export function save(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A path with query parameters; lists are repeated, empty ones left out. */
export function withQuery(path: string, query: Record<string, unknown>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null && each !== "") search.append(name, String(each));
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}
