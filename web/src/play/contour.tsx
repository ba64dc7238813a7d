/** The contour of a function with the paths on it; the start is placed by pointer or by keys. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { colour, isDark } from "../app/theme";
import { mixed, type Rgb, sized } from "../charts/canvas";
import { linearTicks } from "../charts/scales";
import { t } from "../i18n";
import { count, short, shortOf } from "../ui/format";
import { bandsOf, type Field, levelsOf, pickStep } from "./field";
import type { Racer } from "./race";
import type { Extents, Point } from "./setup";

const BANDS = 18;
const [LEFT, BOTTOM] = [46, 24];
const REACH = 14;
const FINE = 0.2;
/** Part of the width by which an arrow moves the start. */
const STRIDE = 0.02;

export type Shown = { racer: Racer; name: string; colour: string };
type Props = {
  field: Field | null;
  extents: Extents;
  start: Point;
  shown: readonly Shown[];
  /** Step up to which paths are drawn in full. */
  step: number;
  version: number;
  label: string;
  onMove: (start: Point) => void;
  onRace: () => void;
};

/** Ground of the lowest and of the highest band, and of what is not finite. */
const GROUNDS: Record<"light" | "dark", readonly [Rgb, Rgb, Rgb]> = {
  light: [
    [134, 190, 190],
    [252, 253, 251],
    [232, 222, 222],
  ],
  dark: [
    [38, 104, 108],
    [15, 22, 28],
    [58, 36, 38],
  ],
};

export function Contour(props: Props) {
  const { field, extents, start, shown, step, version } = props;
  const host = useRef<HTMLDivElement>(null);
  const ground = useRef<HTMLCanvasElement>(null);
  const above = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(560);
  const [held, setHeld] = useState<Point | null>(null);
  const [picked, setPicked] = useState("");
  const height = Math.min(width, 600);
  useEffect(() => {
    const measure = (): void => setWidth(Math.max(200, (host.current?.clientWidth ?? 606) - LEFT));
    const observer = new ResizeObserver(measure);
    observer.observe(host.current!);
    return () => observer.disconnect();
  }, []);
  const levels = useMemo(() => (field ? levelsOf(field.values, BANDS) : []), [field]);
  const numPoints = field?.values.length ?? 0;
  const numUndefined = useMemo(
    () => field?.values.filter((value) => !Number.isFinite(value)).length ?? 0,
    [field],
  );
  const dark = isDark.value;
  useEffect(() => {
    if (field) drawGround(ground.current!, field, levels, width, height, dark);
  }, [field, levels, width, height, dark]);
  const [left, right, bottom, top] = extents;
  const xTicks = linearTicks(left, right, Math.max(2, width / 90));
  const yTicks = linearTicks(bottom, top, 6);
  const toPixel = ([x, y]: Point): Point => [
    ((x - left) / (right - left)) * width,
    (1 - (y - bottom) / (top - bottom)) * height,
  ];
  const at = held ?? start;
  useEffect(() => {
    drawPaths(above.current!, { shown, step, at, toPixel, width, height });
  }, [shown, step, version, at[0], at[1], width, height, dark, extents]);

  const pixelOf = (event: PointerEvent): Point => {
    const box = above.current!.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const pointOf = (event: PointerEvent): Point => {
    const [px, py] = pixelOf(event);
    const inside = (share: number): number => Math.min(1, Math.max(0, share));
    return [
      rounded(left + inside(px / width) * (right - left), right - left),
      rounded(top - inside(py / height) * (top - bottom), top - bottom),
    ];
  };
  const paths = shown.map(({ racer }) => racer);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Enter") {
      event.preventDefault();
      props.onRace();
      return;
    }
    const way = ARROWS[event.key];
    if (!way || event.metaKey || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    const stride = STRIDE * (event.shiftKey ? FINE : 1);
    props.onMove([
      rounded(at[0] + way[0] * stride * (right - left), right - left),
      rounded(at[1] + way[1] * stride * (top - bottom), top - bottom),
    ]);
  };
  const onPointerMove = (event: PointerEvent): void => {
    if (held) {
      setHeld(pointOf(event));
      return;
    }
    const found = pickStep(paths, pixelOf(event), REACH, toPixel);
    if (!found) {
      setPicked("");
      return;
    }
    const { racer, name } = shown[found.path]!;
    const { x, y, loss } = racer;
    const point = `(${short(x[found.step])}, ${short(y[found.step])})`;
    const value = short(loss[found.step]);
    setPicked(t("playPicked", { name, step: found.step, point, value }));
  };
  return (
    <figure class="contour" ref={host}>
      <div
        class="contour-frame"
        style={{ width: `${width + LEFT}px`, height: `${height + BOTTOM}px` }}
      >
        <canvas
          ref={ground}
          style={{ left: `${LEFT}px`, width: `${width}px`, height: `${height}px` }}
        />
        <div
          class="contour-paths"
          style={{ left: `${LEFT}px`, width: `${width}px`, height: `${height}px` }}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: arrows move the start
          tabIndex={0}
          role="application"
          aria-roledescription={t("contour")}
          aria-label={`${props.label}. ${t("playStartAt", { x: short(at[0]), y: short(at[1]) })}. ${t("playKeys")}`}
          onKeyDown={onKeyDown}
          onPointerDown={(event) => {
            if (event.button !== 0) return;
            event.currentTarget.setPointerCapture(event.pointerId);
            setHeld(pointOf(event));
          }}
          onPointerMove={onPointerMove}
          onPointerUp={(event) => {
            if (held) props.onMove(pointOf(event));
            setHeld(null);
          }}
          onPointerCancel={() => setHeld(null)}
          onPointerLeave={() => setPicked("")}
        >
          <canvas ref={above} style={{ width: `${width}px`, height: `${height}px` }} />
        </div>
        <svg class="contour-ticks" width={width + LEFT} height={height + BOTTOM} aria-hidden="true">
          {xTicks.map((value) => (
            <text key={value} x={LEFT + toPixel([value, 0])[0]} y={height + 17}>
              {shortOf(xTicks)(value)}
            </text>
          ))}
          {yTicks.map((value) => (
            <text key={value} class="end" x={LEFT - 7} y={toPixel([0, value])[1] + 4}>
              {shortOf(yTicks)(value)}
            </text>
          ))}
        </svg>
      </div>
      <figcaption class="muted small num">
        {picked || t("playHint")}
        {numUndefined > 0 && (
          <> {t("playUndefined", { n: count(numUndefined), total: count(numPoints) })}</>
        )}
      </figcaption>
    </figure>
  );
}

const ARROWS: Record<string, Point> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

/** A coordinate to a thousandth of the span: as closely as a pointer can say it. */
function rounded(value: number, span: number): number {
  const digits = Math.max(0, 3 - Math.floor(Math.log10(span)));
  return Number(value.toFixed(Math.min(digits, 12)));
}

function drawGround(
  canvas: HTMLCanvasElement,
  field: Field,
  levels: readonly number[],
  width: number,
  height: number,
  dark: boolean,
): void {
  sized(canvas, width, height);
  const context = canvas.getContext("2d");
  if (!context) return;
  const [columns, rows] = [canvas.width, canvas.height];
  const bands = bandsOf(field, levels, columns, rows);
  const [low, high, undefinedGround] = GROUNDS[dark ? "dark" : "light"];
  const grounds = Array.from({ length: levels.length + 1 }, (_, i) =>
    mixed(low, high, i / Math.max(1, levels.length)),
  );
  const lines = grounds.map((each) => mixed(each, dark ? [150, 200, 200] : [20, 70, 74], 0.28));
  const image = context.createImageData(columns, rows);
  for (let at = 0; at < bands.length; at++) {
    const band = bands[at]!;
    const isEdge =
      at + columns < bands.length &&
      (at + 1) % columns !== 0 &&
      (bands[at + 1] !== band || bands[at + columns] !== band);
    const [r, g, b] = band < 0 ? undefinedGround : isEdge ? lines[band]! : grounds[band]!;
    image.data.set([r, g, b, 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
}

type Drawn = {
  shown: readonly Shown[];
  step: number;
  at: Point;
  toPixel: (point: Point) => Point;
  width: number;
  height: number;
};

function drawPaths(canvas: HTMLCanvasElement, drawn: Drawn): void {
  const { shown, step, at, toPixel, width, height } = drawn;
  const ratio = sized(canvas, width, height);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(ratio, ratio);
  context.lineJoin = "round";
  context.lineCap = "round";
  const halo = colour("card");
  const ink = colour("ink");
  const stroke = (racer: Racer, from: number, to: number): void => {
    context.beginPath();
    let isDrawing = false;
    for (let i = from; i <= to && i < racer.x.length; i++) {
      const [x, y] = toPixel([racer.x[i]!, racer.y[i]!]);
      // Beyond some screens away a line is drawn no further: it has left the picture.
      if (!(Math.abs(x) < 1e5 && Math.abs(y) < 1e5)) isDrawing = false;
      else if (isDrawing) context.lineTo(x, y);
      else {
        context.moveTo(x, y);
        isDrawing = true;
      }
    }
  };
  for (const { racer, colour: name } of shown) {
    stroke(racer, 0, racer.x.length);
    context.globalAlpha = 0.35;
    context.strokeStyle = colour(name);
    context.lineWidth = 1.2;
    context.stroke();
    context.globalAlpha = 1;
    stroke(racer, 0, step);
    context.strokeStyle = halo;
    context.lineWidth = 4.5;
    context.stroke();
    context.strokeStyle = colour(name);
    context.lineWidth = 2.2;
    context.stroke();
  }
  const dot = ([x, y]: Point, size: number, fill: string): void => {
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.fill();
    context.strokeStyle = halo;
    context.lineWidth = 2;
    context.stroke();
  };
  for (const { racer, colour: name } of shown) {
    if (!racer.x.length) continue;
    const last = Math.min(step, racer.x.length - 1);
    const place = toPixel([racer.x[last]!, racer.y[last]!]);
    if (place.every((each) => Math.abs(each) < 1e5)) dot(place, 5.5, colour(name));
  }
  const [x, y] = toPixel(at);
  dot([x, y], 4, ink);
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.strokeStyle = ink;
  context.lineWidth = 1.6;
  context.stroke();
}
