/** A chart with its legend, readout and notes; the keyboard moves the cursor and zooms. */
import { useEffect, useRef, useState } from "preact/hooks";
import { isDark } from "../app/theme";
import { lang, t } from "../i18n";
import { count, short } from "../ui/format";
import type { MarkKind } from "./arrange";
import { lowerBound, nearest, nearestRow } from "./columns";
import { type Content, type Flag, Plot, type Range, type Shown, valueAt } from "./plot";

type Props = Content & {
  title: string;
  axisName: string;
  height?: number;
  /** What of the rows is shown ("every point", "2,000 of 10,000"). */
  note?: string;
  onRange?: (range: Range | null) => void;
  /** For many lines that are alike. */
  hideLegend?: boolean;
  children?: preact.ComponentChildren;
};

export function Chart(props: Props) {
  const { title, axisName, lines, flags, scale, height = 300 } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const [own, setOwn] = useState<Range | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const [shown, setShown] = useState<Shown | null>(null);
  const isKeyed = useRef(false);
  const range = props.onRange ? props.range : own;
  const setRange = props.onRange ?? setOwn;
  const content: Content = { lines, flags, scale, range };
  if (props.format) content.format = props.format;

  const latest = useRef({ setRange });
  latest.current = { setRange };
  useEffect(() => {
    const made = new Plot(host.current!, height, {
      onRange: (to) => latest.current.setRange(to),
      onCursor: (x) => setCursor(x),
      onShown: (next) => setShown((before) => (isSame(before, next) ? before : next)),
    });
    plot.current = made;
    return () => made.destroy();
  }, []);
  const form = `${lines.map((line) => line.key)} ${scale} ${range} ${lang.value}`;
  const lastForm = useRef("");
  useEffect(() => {
    plot.current?.show(content, form !== lastForm.current);
    lastForm.current = form;
  });
  useEffect(() => plot.current?.recolour(), [isDark.value]);

  const onKey = (key: string): boolean => {
    const next = stepped(key, plot.current!, content, cursor);
    if (next === undefined) return false;
    if ("range" in next) setRange(next.range ?? null);
    else plot.current?.pointAt(next.cursor);
    return true;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (!onKey(event.key)) return;
    event.preventDefault();
    isKeyed.current = true;
  };
  const at = cursor === null ? null : nearestRow(lines, cursor);
  return (
    <figure class="chart">
      <figcaption class="chart-head">
        {!props.hideLegend && <Legend lines={lines} at={at} format={props.format ?? short} />}
        <span class="chart-tools">
          {props.children}
          {props.note !== undefined && <Zoom onKey={onKey} />}
        </span>
      </figcaption>
      <div class="chart-place">
        <div
          ref={host}
          class="chart-canvas"
          style={{ minHeight: `${height}px` }}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: arrows read the curve aloud
          tabIndex={0}
          role="application"
          aria-roledescription={t("chart")}
          aria-label={`${title}. ${lines.map(described).join(". ")}. ${t("chartKeys")}`}
          onKeyDown={onKeyDown}
          onPointerMove={() => {
            isKeyed.current = false;
          }}
        />
        {at !== null && (
          <span class="chart-at num">
            {axisName} {placeAt(at)}
          </span>
        )}
      </div>
      {flags.length > 0 && (
        <ul class="flags">
          {grouped(flags).map(([{ label, colour }, places]) => (
            <li key={`${label} ${colour}`}>
              <span class="swatch" style={{ background: `var(--${colour})` }} />
              {label}
              <span class="muted">
                {" "}
                · {axisName} {places.slice(0, PLACES).map(placeWords).join(", ")}
                {places.length > PLACES && ` … (${count(places.length)})`}
              </span>
            </li>
          ))}
        </ul>
      )}
      <p
        class={
          props.note === undefined
            ? "chart-note chart-note-bare muted small"
            : "chart-note muted small"
        }
      >
        {props.note}
        {shown && [...shown.marks].map(([kind, n]) => <MarkNote key={kind} kind={kind} n={n} />)}
        {range && (
          <button type="button" class="link" onClick={() => setRange(null)}>
            {t("wholeRange")}
          </button>
        )}
      </p>
      <p class="hidden" aria-live="polite">
        {isKeyed.current && cursor !== null
          ? `${axisName} ${placeAt(cursor)}: ${lines.map((line) => `${line.label} ${short(valueAt(line, cursor)?.y ?? Number.NaN)}`).join(", ")}`
          : ""}
      </p>
    </figure>
  );
}

/** For fingers, which can neither drag a range (the page scrolls) nor press keys. */
const Zoom = ({ onKey }: { onKey: (key: string) => boolean }) => (
  <span class="chart-zoom">
    <button type="button" class="icon" aria-label={t("playCloser")} onClick={() => onKey("+")}>
      +
    </button>
    <button type="button" class="icon" aria-label={t("playWider")} onClick={() => onKey("-")}>
      −
    </button>
  </span>
);

/** Places of one flag that are written out. */
const PLACES = 4;

/** Flags of one name together. */
function grouped(flags: readonly Flag[]): [Flag, Flag[]][] {
  const found = new Map<string, Flag[]>();
  for (const flag of flags) {
    const name = `${flag.label} ${flag.colour}`;
    found.set(name, [...(found.get(name) ?? []), flag]);
  }
  return [...found.values()].map((places) => [places[0]!, places]);
}

const placeWords = ({ from, to }: Flag): string =>
  to > from ? `${placeAt(from)}–${placeAt(to)}` : placeAt(from);

const MARKS = {
  nan: "markNan",
  high: "markHigh",
  low: "markLow",
  notPositive: "markNotPositive",
} as const;

const MarkNote = ({ kind, n }: { kind: MarkKind; n: number }) => (
  <span class="mark-note">{t(MARKS[kind], { n: count(n) })}</span>
);

function isSame(before: Shown | null, next: Shown): boolean {
  return (
    JSON.stringify(before && [before, ...before.marks]) === JSON.stringify([next, ...next.marks])
  );
}

function described(line: Content["lines"][number]): string {
  const { y } = line;
  if (!y.length) return `${line.label}: ${t("noRows")}`;
  const values = { n: count(y.length), first: short(y[0]!), last: short(y[y.length - 1]!) };
  return `${line.label}: ${t("described", values)}`;
}

type LegendProps = {
  lines: Content["lines"];
  /** Place of the cursor; null while there is none. */
  at: number | null;
  format: (value: number) => string;
};

/** Names of the lines with their values at the cursor, or their last ones. */
function Legend({ lines, at, format }: LegendProps) {
  return (
    <span class="legend">
      {lines.map((line) => {
        const found = valueAt(line, at ?? Number.POSITIVE_INFINITY);
        return (
          <span key={line.key} class="legend-line">
            <span
              class={line.dash ? "swatch swatch-dash" : "swatch"}
              style={{ color: `var(--${line.colour})`, opacity: line.isFaint ? 0.5 : 1 }}
            />
            {line.label}
            <b class="num">{found ? format(found.y) : "–"}</b>
          </span>
        );
      })}
    </span>
  );
}

/** A place of the axis in words: a step as it is, a time in five digits. */
const placeAt = (x: number): string => (Number.isInteger(x) ? count(x) : short(x, 5));

type Next = { cursor: number | null } | { range: Range | null } | undefined;

/** What a key asks for: another place of the cursor, or another range. */
function stepped(key: string, plot: Plot, content: Content, cursor: number | null): Next {
  const [from, to] = plot.shownRange;
  const line = content.lines.find((each) => each.x.length > 0);
  if (!line) return undefined;
  const at = Math.min(lowerBound(line.x, cursor ?? from), line.x.length - 1);
  const pixel = Math.max(1, Math.round((line.x.length * (to - from)) / (plotSpan(line.x) * 100)));
  const row = (i: number): Next => ({
    cursor: line.x[Math.min(Math.max(i, 0), line.x.length - 1)]!,
  });
  if (key === "ArrowRight") return row(cursor === null ? at : at + pixel);
  if (key === "ArrowLeft") return row(at - pixel);
  if (key === "Home") return row(lowerBound(line.x, from));
  if (key === "End") return row(lowerBound(line.x, to));
  if (key === "Escape" || key === "0") return { range: null };
  const centre = cursor ?? (from + to) / 2;
  if (key === "+" || key === "=") {
    if (to - from <= 2 * gapAt(line.x, centre)) return undefined; // no rows are told apart any more
    return { range: [centre - (centre - from) / 2, centre + (to - centre) / 2] };
  }
  if (key === "-") return content.range ? { range: widened(content, centre, from, to) } : undefined;
  return undefined;
}

function widened(content: Content, centre: number, from: number, to: number): Range | null {
  const first = Math.min(...content.lines.filter((l) => l.x.length).map((l) => l.x[0]!));
  const last = Math.max(...content.lines.filter((l) => l.x.length).map((l) => l.x.at(-1)!));
  const low = Math.max(first, centre - 2 * (centre - from));
  const high = Math.min(last, centre + 2 * (to - centre));
  return low <= first && high >= last ? null : [low, high];
}

/** The distance from the row at a place to the closer one of its neighbours. */
function gapAt(x: Float64Array, place: number): number {
  const i = nearest(x, place);
  const gaps = [x[i]! - (x[i - 1] ?? Number.NaN), (x[i + 1] ?? Number.NaN) - x[i]!];
  return Math.min(...gaps.filter((gap) => gap > 0), Number.MAX_VALUE);
}

const plotSpan = (x: Float64Array): number => Math.max(1e-12, x[x.length - 1]! - x[0]!);
