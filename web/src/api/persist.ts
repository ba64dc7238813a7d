/** Calls that are made again while the service is away for a time, or has too much to do. */
import { ApiError } from "./client";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** Whether the same call may succeed later: no reply, or one of a service that is not ready. */
export const isPassing = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 502);

/** Wait so long, or until `stop`. */
export const sleep = (ms: number, stop: AbortSignal): Promise<void> =>
  new Promise((done) => {
    if (stop.aborted) {
      done();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      stop.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, ms);
    stop.addEventListener("abort", end);
  });

/** Make a call until it succeeds, fails for good, or `stop`; `onFailure` hears of each failure that
 * passes. */
export async function persist<T>(
  call: () => Promise<T>,
  stop: AbortSignal,
  onFailure: (error: unknown) => void,
): Promise<T> {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      return await call();
    } catch (error) {
      if (stop.aborted || !isPassing(error)) throw error;
      onFailure(error);
      await sleep(wait, stop);
      if (stop.aborted) throw error;
    }
  }
}
