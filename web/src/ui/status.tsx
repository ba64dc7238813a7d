/** Status, outcome and verdict as words with a colour; the colour never says more than the word. */
import { named } from "../i18n";

type Of = { status: string; outcome?: string | null; phase?: string | null };

const TONES: Record<string, string> = {
  queued: "calm",
  running: "live",
  paused: "warn",
  cancelling: "warn",
  cancelled: "calm",
  failed: "bad",
  converged: "good",
  stalled: "warn",
  budget_exhausted: "done",
  diverged: "bad",
  succeeded: "done",
  // verdicts
  healthy: "good",
  oscillating: "warn",
  diverging: "bad",
  saddle_point: "warn",
  local_minimum: "warn",
  plateau: "warn",
  too_slow: "warn",
  overfitting: "warn",
  noise_limited: "warn",
  undetermined: "calm",
};

export const tone = (name: string): string => TONES[name] ?? "calm";

export function StatusPill({ status, outcome, phase }: Of) {
  const isEnd = status === "succeeded" && outcome;
  const name = isEnd ? outcome : status;
  const text = isEnd ? named("outcome", outcome) : named("status", status);
  const detail = status === "running" && phase && phase !== "training" ? named("phase", phase) : "";
  return (
    <span class={`pill tone-${tone(name)}`}>
      <span class="dot" aria-hidden="true" />
      {text}
      {detail && <span class="muted"> {detail}</span>}
    </span>
  );
}

export function VerdictWord({ verdict }: { verdict: string }) {
  return <span class={`verdict tone-${tone(verdict)}`}>{named("verdict", verdict)}</span>;
}

export function ProgressBar({ fraction, label }: { fraction: number | null; label: string }) {
  const percent = fraction === null ? undefined : Math.round(100 * fraction);
  return (
    <span
      class={fraction === null ? "bar bar-unknown" : "bar"}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    >
      <span class="bar-fill" style={{ width: `${100 * (fraction ?? 0)}%` }} />
    </span>
  );
}
