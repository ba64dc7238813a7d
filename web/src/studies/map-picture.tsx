/** The picture of a map: a cell a configuration on a canvas, axes and marks above, keys to go about. */
import { useEffect, useRef, useState } from "preact/hooks";
import { colour, isDark } from "../app/theme";
import { css, mixed, type Rgb, sized } from "../charts/canvas";
import { type Scale, ticks } from "../charts/scales";
import { t } from "../i18n";
import { short, shortOf } from "../ui/format";
import { useWidth } from "../ui/width";
import { axisScale, shortName } from "./dial";
import type { Edge } from "./edge";
import {
  cellOf,
  edgesOf,
  neighbourOf,
  type Pair,
  type Place,
  type StudyMap,
  type Way,
} from "./map";

/** How a cell looks: its colour (a name of the style sheet, or itself), and its words. */
export type Look = { colour: string; words: string };
/** A mark at a place of the map: the minima that were reached. */
export type Mark = { x: number; y: number; text: string };

type Props = {
  map: StudyMap;
  pair: Pair;
  title: string;
  look: (place: Place) => Look;
  marks: readonly Mark[];
  edge: Edge | null;
  lit: number | null;
  onLight: (configuration: number | null) => void;
};

const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 8, 40];
const TALLEST = 420;
const GAP = 1;

/** An axis of the picture: its scale, the edges of its cells, the pixel of a value or a height. */
type Axis = { scale: Scale; edges: number[]; pixel: (height: number) => number; ticks: number[] };

export function MapPicture({ map, pair, title, look, marks, edge, lit, onLight }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = Math.max(120, useWidth(host, 640) - LEFT - RIGHT);
  const height = Math.min(TALLEST, Math.round(0.75 * width));
  const [isKeyed, setKeyed] = useState(false);
  const x = axisOf(map.xs, (share) => share * width, width / 90);
  const y = axisOf(map.ys, (share) => (1 - share) * height, height / 50);
  const dark = isDark.value;
  useEffect(() => {
    const ratio = sized(canvas.current!, width, height);
    const context = canvas.current!.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    for (const place of map.places) drawCell(context, boxOf(map, place, x, y), look(place).colour);
  }, [map, look, width, height, dark]);

  const shown = map.places.find((place) => place.configuration === lit) ?? null;
  const words = shown ? `${nameOf(shown, pair)}: ${look(shown).words}` : "";
  const onPointerMove = (event: PointerEvent): void => {
    const box = canvas.current!.getBoundingClientRect();
    setKeyed(false);
    const found = placeAt(map, x, y, event.clientX - box.left, event.clientY - box.top);
    if ((found?.configuration ?? null) !== lit) onLight(found?.configuration ?? null);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const way = WAYS[event.key];
    if (event.key !== "Escape" && !way) return;
    event.preventDefault();
    setKeyed(true);
    if (!way) onLight(null);
    else onLight((neighbourOf(map, shown, way) ?? shown)?.configuration ?? null);
  };
  const place = { left: `${LEFT}px`, top: `${TOP}px`, width: `${width}px`, height: `${height}px` };
  return (
    <div ref={host} class="map">
      <div class="map-frame" style={{ height: `${TOP + height + BOTTOM}px` }}>
        <canvas ref={canvas} style={place} />
        <svg width={LEFT + width + RIGHT} height={TOP + height + BOTTOM} aria-hidden="true">
          <g transform={`translate(${LEFT} ${TOP})`}>
            {shown && <Box box={boxOf(map, shown, x, y)} />}
            {edge && <EdgeLine edge={edge} x={x} y={y} width={width} />}
            {marks.map((mark) => (
              <MarkAt key={mark.text} mark={mark} x={x} y={y} />
            ))}
            {x.ticks.map((value) => (
              <text
                key={value}
                x={x.pixel(x.scale.forward(value))}
                y={height + 16}
                class="dial-tick"
              >
                {shortOf(x.ticks)(value)}
              </text>
            ))}
            {y.ticks.map((value) => (
              <text
                key={value}
                x={-8}
                y={y.pixel(y.scale.forward(value)) + 4}
                class="dial-tick end"
              >
                {shortOf(y.ticks)(value)}
              </text>
            ))}
            <text x={width / 2} y={height + 34} class="dial-tick">
              {pair[0]}
            </text>
            <text transform={`translate(${12 - LEFT} ${height / 2}) rotate(-90)`} class="dial-tick">
              {pair[1]}
            </text>
          </g>
        </svg>
        <div
          class="map-cells"
          style={place}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: arrows go from cell to cell
          tabIndex={0}
          role="application"
          aria-roledescription={t("map")}
          aria-label={`${title}. ${t("mapKeys")}`}
          onKeyDown={onKeyDown}
          onPointerMove={onPointerMove}
          onPointerLeave={() => onLight(null)}
          onBlur={() => onLight(null)}
        />
      </div>
      <p class="muted small num map-words">{words || t("mapHint")}</p>
      <p class="hidden" aria-live="polite">
        {isKeyed ? words : ""}
      </p>
    </div>
  );
}

const WAYS: Record<string, Way> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

const nameOf = ({ x, y }: Place, pair: Pair): string =>
  `${shortName(pair[0])} ${short(x)}, ${shortName(pair[1])} ${short(y)}`;

function axisOf(values: readonly number[], at: (share: number) => number, most: number): Axis {
  const [first, last] = [values[0]!, values.at(-1)!];
  const scale = axisScale(first, last);
  const edges = edgesOf(values, scale);
  const [low, high] = [edges[0]!, edges.at(-1)!];
  return {
    scale,
    edges,
    pixel: (height) => at((height - low) / (high - low)),
    ticks: ticks(scale, low, high, Math.max(2, Math.floor(most))),
  };
}

type CellBox = { left: number; top: number; width: number; height: number };

function boxOf({ xs, ys }: StudyMap, place: Place, x: Axis, y: Axis): CellBox {
  const [i, j] = [xs.indexOf(place.x), ys.indexOf(place.y)];
  const [left, right] = [x.pixel(x.edges[i]!), x.pixel(x.edges[i + 1]!)];
  const [bottom, top] = [y.pixel(y.edges[j]!), y.pixel(y.edges[j + 1]!)];
  return { left, top, width: right - left, height: bottom - top };
}

function placeAt(map: StudyMap, x: Axis, y: Axis, px: number, py: number): Place | null {
  const heightAt = ({ edges, pixel }: Axis, at: number): number => {
    const [low, high] = [edges[0]!, edges.at(-1)!];
    return low + ((at - pixel(low)) / (pixel(high) - pixel(low))) * (high - low);
  };
  const [i, j] = [cellOf(x.edges, heightAt(x, px)), cellOf(y.edges, heightAt(y, py))];
  if (i === null || j === null) return null;
  return map.places.find((each) => each.x === map.xs[i] && each.y === map.ys[j]) ?? null;
}

function drawCell(context: CanvasRenderingContext2D, box: CellBox, of: string): void {
  const { left, top, width, height } = box;
  const gap = Math.min(width, height) > 6 ? GAP : 0;
  context.fillStyle = of.startsWith("rgb") ? of : colour(of);
  context.fillRect(left, top, width - gap, height - gap);
  if (of !== LOST) return;
  const arm = Math.min(4, 0.25 * Math.min(width, height));
  const [x, y] = [left + width / 2, top + height / 2];
  context.beginPath();
  context.moveTo(x - arm, y - arm);
  context.lineTo(x + arm, y + arm);
  context.moveTo(x + arm, y - arm);
  context.lineTo(x - arm, y + arm);
  context.strokeStyle = colour("c5");
  context.lineWidth = 1.6;
  context.stroke();
}

/** The colour of cells whose runs diverged; a cross stands in them too. */
export const LOST = "lost";

const Box = ({ box }: { box: CellBox }) => (
  <rect x={box.left} y={box.top} width={box.width} height={box.height} class="map-lit" />
);

const STEPS = 80;

/** The edge of stability across the map, drawn where it lies within. */
function EdgeLine({ edge, x, y, width }: { edge: Edge; x: Axis; y: Axis; width: number }) {
  const [low, high] = [y.edges[0]!, y.edges.at(-1)!];
  const points = Array.from({ length: STEPS + 1 }, (_, i) => {
    const height = low + ((high - low) * i) / STEPS;
    const rate = edge.rateAt(y.scale.inverse(height));
    return [x.pixel(x.scale.forward(rate)), y.pixel(height)] as const;
  }).filter(([px]) => px >= 0 && px <= width);
  const line = points.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
  if (points.length < 2) return null;
  return (
    <>
      <path d={`M${line}`} class="map-edge-halo" />
      <path d={`M${line}`} class="map-edge" />
    </>
  );
}

function MarkAt({ mark, x, y }: { mark: Mark; x: Axis; y: Axis }) {
  const [left, top] = [x.scale.forward(mark.x), y.scale.forward(mark.y)];
  const isInside = ({ edges }: Axis, at: number) => at >= edges[0]! && at <= edges.at(-1)!;
  if (!isInside(x, left) || !isInside(y, top)) return null;
  return (
    <g transform={`translate(${x.pixel(left)} ${y.pixel(top)})`} class="map-mark">
      <circle r="9" />
      <text y="4">{mark.text}</text>
    </g>
  );
}

/** Colours of the best and of the worst value. */
const SHADES: Record<"light" | "dark", readonly [Rgb, Rgb]> = {
  light: [
    [11, 105, 105],
    [226, 239, 237],
  ],
  dark: [
    [104, 214, 206],
    [27, 47, 53],
  ],
};

/** The colour of a value, by its share of the way from the best to the worst. */
export function shade(share: number): string {
  const [best, worst] = SHADES[isDark.value ? "dark" : "light"];
  return css(mixed(best, worst, share));
}
