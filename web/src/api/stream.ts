/** A stream of events that lasts: it goes on after the last event when it is cut.
 *
 * Read by `fetch`, since an `EventSource` could not carry the key. While it is held (`paused`) there
 * is no connection, and nothing is lost: the last id says where to go on.
 */
import { signal } from "@preact/signals";
import { ApiError, send, wantsKey } from "./client";
import { parseEvents, type StreamEvent } from "./events";
import { sleep } from "./persist";

export type { StreamEvent };

export type StreamState = "connecting" | "live" | "cut" | "paused" | "ended" | "refused";

/** Hold all streams of the page. */
export const paused = signal(false);
/** How the page's stream stands; null while it has none. */
export const streamState = signal<StreamState | null>(null);

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** The service sends a ping every 15 s: after so long without a byte the line is dead. */
const SILENCE_MS = 40_000;

/** Wait until streams are not held any more, or `stop`. */
const released = (stop: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const end = (): void => {
      off();
      done();
    };
    const off = paused.subscribe((isHeld) => {
      if (!isHeld) queueMicrotask(end);
    });
    stop.addEventListener("abort", end, { once: true });
  });

/** Follow a stream until `end`, a refusal (`onRefused` hears why), or the returned function is called. */
export function follow(
  path: string,
  onEvents: (events: StreamEvent[]) => void,
  onRefused: (error: unknown) => void = () => void 0,
): () => void {
  const whole = new AbortController();
  let connection: AbortController | null = null;
  let lastId = "";
  let wait = FIRST_WAIT_MS;

  const run = async (): Promise<void> => {
    while (!whole.signal.aborted) {
      if (paused.value) {
        streamState.value = "paused";
        await released(whole.signal);
        continue;
      }
      connection = new AbortController();
      let refusal: unknown = null;
      const end = await once(connection).catch((error: unknown) => {
        refusal = error;
        return isFinal(error) ? "refused" : null;
      });
      if (whole.signal.aborted) return;
      if (end) {
        streamState.value = end;
        if (end === "refused" && !wantsKey(refusal)) onRefused(refusal);
        return;
      }
      if (paused.value) continue;
      streamState.value = "cut";
      await sleep(wait, whole.signal);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  };

  /** Read one connection to its end; null if it is to be made again. */
  const once = async (line: AbortController): Promise<"ended" | null> => {
    let silence: ReturnType<typeof setTimeout> | undefined;
    const heard = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => line.abort(), SILENCE_MS);
    };
    heard();
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId) headers["Last-Event-ID"] = lastId;
      if (streamState.value !== "cut") streamState.value = "connecting";
      const reply = await send(path, { headers, signal: line.signal, cache: "no-store" });
      if (reply.status === 204 || !reply.body) return "ended";
      streamState.value = "live";
      const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        heard();
        const { events, rest } = parseEvents(text + value);
        text = rest;
        if (!events.length) continue;
        wait = FIRST_WAIT_MS;
        lastId = events.findLast((event) => event.id)?.id ?? lastId;
        onEvents(events);
        if (events.some((event) => event.type === "end") && !path.startsWith("/v1/events")) {
          return "ended";
        }
      }
    } finally {
      clearTimeout(silence);
      line.abort();
    }
  };

  const off = paused.subscribe((isHeld) => {
    if (isHeld) connection?.abort();
  });
  void run();
  return () => {
    whole.abort();
    connection?.abort();
    off();
    streamState.value = null;
  };
}

/** A refusal that another attempt would not change. */
const isFinal = (error: unknown): boolean =>
  error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
