/** The picture of a dial: one point a configuration, its interval, the zones behind. */
import { useRef, useState } from "preact/hooks";
import { scaleOf, ticks } from "../charts/scales";
import { named, t } from "../i18n";
import { short, shortOf } from "../ui/format";
import { useWidth } from "../ui/width";
import { axisScale, type Dot, stretches } from "./dial";
import { unknownWords } from "./unknown";

type Props = {
  dots: readonly Dot[];
  axis: string;
  metric: string;
  lit: number | null;
  onLight: (configuration: number | null) => void;
};

const HEIGHT = 300;
const [LEFT, RIGHT, TOP, BOTTOM] = [62, 14, 14, 40];
/** Heights inside that the zones' words, and the lowest points, keep for themselves. */
const [WORDS, FOOT] = [28, 12];
/** Width that a zone's word needs inside. */
const WORD = 46;

export function Dial({ dots, axis, metric, lit, onLight }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const [reached, reach] = useState(0);
  const width = useWidth(host, 640);
  const xs = dots.map((dot) => dot.x);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const scaleX = axisScale(first, last);
  const span = scaleX.forward(last) - scaleX.forward(first);
  const pad = 0.04 * span;
  const x = (value: number): number =>
    LEFT +
    ((scaleX.forward(value) - scaleX.forward(first) + pad) / (span + 2 * pad)) *
      (width - LEFT - RIGHT);
  const heights = dots
    .flatMap((dot) => [dot.y, dot.low, dot.high])
    .filter((value) => Number.isFinite(value));
  const known = heights.length ? heights : [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const isLogY = low > 0 && high / low > 20;
  const scaleY = scaleOf(isLogY ? "log" : "linear");
  const [bottom, top] = [scaleY.forward(low), scaleY.forward(high)];
  const spanY = top - bottom || 1;
  const inner = HEIGHT - TOP - BOTTOM;
  const y = (value: number): number =>
    TOP + WORDS + (1 - (scaleY.forward(value) - bottom) / spanY) * (inner - WORDS - FOOT);
  const halfway = (a: number, b: number): number =>
    scaleX.inverse((scaleX.forward(a) + scaleX.forward(b)) / 2);
  const range = [bottom - 0.05 * spanY, top + 0.02 * spanY] as const;
  const line = dots
    .filter((dot) => Number.isFinite(dot.y))
    .map((dot, i) => `${i ? "L" : "M"}${x(dot.x).toFixed(1)} ${y(dot.y).toFixed(1)}`)
    .join("");
  const most = Math.max(2, Math.floor(width / 110));
  const zones = stretches(dots, halfway).map((each) => {
    const from = each.from === first ? LEFT : x(each.from);
    const to = each.to === last ? width - RIGHT : x(each.to);
    return { zone: each.zone, from, to, isWorded: to - from > WORD };
  });
  const unworded = new Set(zones.map(({ zone, isWorded }) => (isWorded ? null : zone)));
  unworded.delete(null);
  const yTicks = heights.length ? ticks(scaleY, ...range, 5) : []; // no value is known yet
  const placed = shortOf(xs);
  const xTicks = ticks(scaleX, scaleX.forward(first), scaleX.forward(last), most);
  return (
    <div ref={host} class="dial" onPointerLeave={() => onLight(null)}>
      {/* biome-ignore lint/a11y/useSemanticElements: a field set cannot be a picture */}
      <svg
        width={width}
        height={HEIGHT}
        role="group"
        aria-label={`${metric} · ${axis}. ${t("dialKeys")}`}
      >
        {zones.map(({ zone, from, to, isWorded }) => (
          <g key={from}>
            <rect
              x={from}
              y={TOP}
              width={Math.max(0, to - from)}
              height={inner}
              class={`zone zone-${zone ?? "unknown"}`}
            />
            {zone && isWorded && (
              <text x={(from + to) / 2} y={TOP + 15} class={`zone-word zone-${zone}`}>
                {named("zone", zone)}
              </text>
            )}
          </g>
        ))}
        {yTicks.map((value) => (
          <g key={value}>
            <line x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} class="dial-grid" />
            <text x={LEFT - 8} y={y(value) + 4} class="dial-tick end">
              {shortOf(yTicks)(value)}
            </text>
          </g>
        ))}
        {xTicks.map((value) => (
          <text key={value} x={x(value)} y={HEIGHT - BOTTOM + 16} class="dial-tick">
            {shortOf(xTicks)(value)}
          </text>
        ))}
        <text x={(LEFT + width - RIGHT) / 2} y={HEIGHT - 4} class="dial-tick">
          {axis}
        </text>
        <path d={line} class="dial-line" />
        {dots.map((dot, i) => {
          const isKnown = Number.isFinite(dot.y);
          const at = isKnown ? y(dot.y) : TOP + WORDS;
          const words = `${axis} ${placed(dot.x)}: ${valueWords(dot)}`;
          return (
            // biome-ignore lint/a11y/useSemanticElements: a button cannot stand in a picture
            <g
              key={dot.configuration}
              class={`dot-of zone-${dot.zone ?? "unknown"} ${lit === dot.configuration ? "is-lit" : ""}`}
              role="button"
              tabIndex={i === Math.min(reached, dots.length - 1) ? 0 : -1}
              onKeyDown={(event) => {
                const next = neighbour(event.key, i, dots.length);
                if (next === null) return;
                event.preventDefault();
                host.current?.querySelectorAll<SVGElement>(".dot-of")[next]?.focus();
              }}
              aria-label={dot.zone ? `${words}. ${named("zone", dot.zone)}` : words}
              onPointerEnter={() => onLight(dot.configuration)}
              onFocus={() => {
                reach(i);
                onLight(dot.configuration);
              }}
              onBlur={() => onLight(null)}
            >
              <title>{words}</title>
              <rect x={x(dot.x) - 9} y={TOP} width="18" height={inner} class="dot-reach" />
              {isKnown && Number.isFinite(dot.low) && dot.high > dot.low && (
                <line
                  x1={x(dot.x)}
                  x2={x(dot.x)}
                  y1={y(dot.low)}
                  y2={y(dot.high)}
                  class="dot-interval"
                />
              )}
              {isKnown ? (
                <circle cx={x(dot.x)} cy={at} r={lit === dot.configuration ? 6 : 4} />
              ) : (
                <path d={`M${x(dot.x)} ${at}${dot.zone ? CROSS : BAR}`} class="dot-lost" />
              )}
            </g>
          );
        })}
      </svg>
      {unworded.size > 0 && (
        <ul class="map-key">
          {[...unworded].map((zone) => (
            <li key={zone}>
              <span class={`map-swatch zone-swatch zone-${zone}`} />
              {named("zone", zone!)}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** The dot that a key leads to; null for another key. Tab leads past the dial, not through it. */
function neighbour(key: string, i: number, count: number): number | null {
  if (key === "ArrowRight" || key === "ArrowUp") return Math.min(i + 1, count - 1);
  if (key === "ArrowLeft" || key === "ArrowDown") return Math.max(i - 1, 0);
  if (key === "Home") return 0;
  return key === "End" ? count - 1 : null;
}

/** A cross where runs diverged, a bar where there is no value for another reason. */
const CROSS = "m-4 -4l8 8m0 -8l-8 8";
const BAR = "m-4 0h8";

function valueWords(dot: Dot): string {
  if (dot.zone === "diverge") return t("outcome_diverged");
  return Number.isFinite(dot.y) ? short(dot.y) : unknownWords(dot);
}
