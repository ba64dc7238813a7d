/** One chart on a canvas: keeps uPlot, redraws at most ten times a second, never rebuilds for rows. */
import uPlot from "uplot";
import { colour } from "../app/theme";
import { count, shortOf } from "../ui/format";
import { type Arranged, arrange, type Curve, countMarks, type MarkKind } from "./arrange";
import { nearest } from "./columns";
import {
  extentOf,
  linearTicks,
  padded,
  type ScaleKind,
  scaleOf,
  suggested,
  thresholdOf,
  ticks,
} from "./scales";

export type Line = Curve & {
  key: string;
  label: string;
  /** Name of a colour of the style sheet. */
  colour: string;
  dash?: number[];
  width?: number;
  isFaint?: boolean;
};
/** Something that happened at a place of the axis, or over a stretch of it. */
export type Flag = { from: number; to: number; label: string; colour: string };
export type Range = readonly [number, number];
/** What the chart shows, told after each drawing. */
export type Shown = {
  scale: ScaleKind;
  isExact: boolean;
  marks: Map<MarkKind, number>;
};
export type Content = {
  lines: readonly Line[];
  flags: readonly Flag[];
  /** null: the scale that suits the values. */
  scale: ScaleKind | null;
  /** null: all there is. */
  range: Range | null;
  format?: (value: number) => string;
};
export type Callbacks = {
  onRange: (range: Range | null) => void;
  onCursor: (x: number | null) => void;
  onShown: (shown: Shown) => void;
};

const REDRAW_MS = 100;
/** Room beside the curves, in pixels. */
const LEFT = 58;
const RIGHT = 26;

export class Plot {
  private chart: uPlot | null = null;
  private form = "";
  private content: Content | null = null;
  private made: Arranged | null = null;
  private scale = scaleOf("linear");
  private heights: [number, number] = [0, 1];
  private view: [number, number] = [0, 1];
  private drawnAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly observer: ResizeObserver;

  constructor(
    private readonly host: HTMLElement,
    private readonly height: number,
    private readonly callbacks: Callbacks,
  ) {
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(host);
  }

  /** Show this content. A change of rows waits for its turn; a change of form is shown at once. */
  show(content: Content, isUrgent = false): void {
    this.content = content;
    const wait = isUrgent ? 0 : this.drawnAt + REDRAW_MS - performance.now();
    if (wait <= 0) {
      clearTimeout(this.timer);
      this.timer = undefined;
      this.draw();
    } else {
      this.timer ??= setTimeout(() => {
        this.timer = undefined;
        this.draw();
      }, wait);
    }
  }

  /** Draw anew with other colours. */
  recolour(): void {
    this.form = "";
    if (this.content) this.show(this.content, true);
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.observer.disconnect();
    this.chart?.destroy();
  }

  /** Put the cursor at a place of the axis; null takes it away. */
  pointAt(x: number | null): void {
    if (!this.chart) return;
    if (x === null) this.chart.setCursor({ left: -10, top: -10 });
    else this.chart.setCursor({ left: this.chart.valToPos(x, "x"), top: 10 });
  }

  /** The range in view. */
  get shownRange(): Range {
    return this.view;
  }

  private fit(): void {
    if (!this.chart || !this.content) return;
    const width = this.host.clientWidth;
    if (width > 0 && width !== this.chart.width) {
      this.chart.setSize({ width, height: this.height });
      this.show(this.content, true);
    }
  }

  private draw(): void {
    const { content } = this;
    const width = this.host.clientWidth;
    if (!content || width === 0) return;
    this.drawnAt = performance.now();
    const { lines } = content;
    const columns = lines.map((line) => line.y);
    const extent = extentOf(columns);
    const kind = content.scale ?? suggested(extent);
    this.scale = scaleOf(kind, thresholdOf(extent));
    this.view = content.range ? [...content.range] : wholeRange(lines);
    this.made = arrange(lines, ...this.view, width - LEFT - RIGHT, this.scale);
    this.heights = padded(this.made.low, this.made.high);
    const form = JSON.stringify(
      lines.map((line) => [line.key, line.colour, line.dash, line.width, line.isFaint]),
    );
    const data = [this.made.x, ...this.made.ys] as unknown as uPlot.AlignedData;
    const { chart } = this;
    if (chart && form === this.form) {
      const [[from, to], [low, high]] = [this.view, this.heights];
      chart.batch(() => {
        chart.setData(data, false);
        chart.setScale("x", { min: from, max: to });
        chart.setScale("y", { min: low, max: high });
      });
    } else {
      this.chart?.destroy();
      this.form = form;
      this.chart = new uPlot(this.options(lines, width), data, this.host);
    }
    const marks = countMarks(lines, this.scale);
    this.callbacks.onShown({ scale: kind, isExact: this.made.isExact, marks });
  }

  private options(lines: readonly Line[], width: number): uPlot.Options {
    const ink = colour("ink-2");
    const grid = { stroke: colour("grid"), width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width,
      height: this.height,
      padding: [10, RIGHT, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      select: { show: true, left: 0, top: 0, width: 0, height: 0 },
      scales: {
        x: { time: false, auto: false, range: () => this.view },
        y: { auto: false, range: () => this.heights },
      },
      axes: [
        {
          ...axis,
          size: 26,
          splits: (u) => {
            const least = isOfWholes(this.content?.lines ?? []) ? 1 : 0;
            return linearTicks(...this.view, Math.max(2, Math.floor(u.width / 110)), least);
          },
          values: (_, at) => at.map((value) => count(value)),
        },
        {
          ...axis,
          size: LEFT,
          splits: (u) =>
            ticks(this.scale, ...this.heights, Math.max(2, Math.floor(u.height / 42))).map(
              this.scale.forward,
            ),
          values: (_, at) => {
            const found = at.map((height) => Number(this.scale.inverse(height).toPrecision(12)));
            return found.map(this.content?.format ?? shortOf(found));
          },
        },
      ],
      series: [
        {},
        ...lines.map(
          (line, i): uPlot.Series => ({
            stroke: colour(line.colour),
            width: line.width ?? (line.x.length > 500 ? 1 : 1.5),
            alpha: line.isFaint ? 0.45 : 1,
            spanGaps: false,
            ...(line.dash ? { dash: line.dash } : {}),
            points: {
              show: true,
              size: 5,
              fill: colour(line.colour),
              filter: () => this.made?.lone[i] ?? null,
            },
          }),
        ),
      ],
      hooks: {
        drawClear: [(u) => this.drawFlags(u)],
        draw: [(u) => this.drawMarks(u, lines)],
        setCursor: [
          (u) => {
            const left = u.cursor.left ?? -1;
            this.callbacks.onCursor(left < 0 ? null : u.posToVal(left, "x"));
          },
        ],
        setSelect: [
          (u) => {
            if (u.select.width < 4) return;
            const from = u.posToVal(u.select.left, "x");
            const to = u.posToVal(u.select.left + u.select.width, "x");
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (to > from) this.callbacks.onRange([from, to]);
          },
        ],
        ready: [(u) => u.over.addEventListener("dblclick", () => this.callbacks.onRange(null))],
      },
    };
  }

  /** Stretches and places where something was found, behind the lines. */
  private drawFlags(u: uPlot): void {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    const [from, to] = this.view;
    const flags = (this.content?.flags ?? []).filter((flag) => flag.to >= from && flag.from <= to);
    const leftOf = (flag: Flag): number => u.valToPos(Math.max(flag.from, from), "x", true);
    ctx.save();
    // Stretches of one colour as one shape: where several overlap it is no darker.
    ctx.globalAlpha = 0.1;
    for (const name of new Set(flags.map((flag) => flag.colour))) {
      ctx.fillStyle = colour(name);
      ctx.beginPath();
      for (const flag of flags.filter((each) => each.colour === name)) {
        const left = leftOf(flag);
        const right = u.valToPos(Math.min(flag.to, to), "x", true);
        ctx.rect(left, bbox.top, right - left, bbox.height);
      }
      ctx.fill();
    }
    ctx.globalAlpha = 0.8;
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    for (const flag of flags) {
      const left = leftOf(flag);
      ctx.strokeStyle = colour(flag.colour);
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Marks at the edges for values that have no height. */
  private drawMarks(u: uPlot, lines: readonly Line[]): void {
    const { ctx, bbox } = u;
    const size = 5 * devicePixelRatio;
    const bottom = bbox.top + bbox.height;
    ctx.save();
    for (const [i, marks] of (this.made?.marks ?? []).entries()) {
      ctx.fillStyle = ctx.strokeStyle = colour(lines[i]!.colour);
      ctx.lineWidth = 1.5 * devicePixelRatio;
      for (const { x, kind } of marks) {
        if (x < this.view[0] || x > this.view[1]) continue;
        const at = u.valToPos(x, "x", true);
        ctx.beginPath();
        if (kind === "nan") {
          ctx.moveTo(at - size / 1.4, bbox.top + 1);
          ctx.lineTo(at + size / 1.4, bbox.top + 1.4 * size);
          ctx.moveTo(at + size / 1.4, bbox.top + 1);
          ctx.lineTo(at - size / 1.4, bbox.top + 1.4 * size);
          ctx.stroke();
        } else if (kind === "high") {
          ctx.moveTo(at, bbox.top);
          ctx.lineTo(at - size, bbox.top + 1.6 * size);
          ctx.lineTo(at + size, bbox.top + 1.6 * size);
          ctx.fill();
        } else {
          ctx.moveTo(at, bottom);
          ctx.lineTo(at - size, bottom - 1.6 * size);
          ctx.lineTo(at + size, bottom - 1.6 * size);
          ctx.fill();
        }
      }
    }
    ctx.restore();
  }
}

/** Whether the places of the axis are whole numbers, told by some of them: there is no half step. */
function isOfWholes(lines: readonly Line[]): boolean {
  const some = ({ x }: Line) => [0, 1, 2, x.length >> 1, x.length - 1].map((i) => x[i] ?? 0);
  return lines.length > 0 && lines.every((line) => some(line).every(Number.isInteger));
}

function wholeRange(lines: readonly Line[]): [number, number] {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const { x } of lines) {
    if (!x.length) continue;
    from = Math.min(from, x[0]!);
    to = Math.max(to, x[x.length - 1]!);
  }
  if (!(from <= to)) return [0, 1];
  return from === to ? [from - 0.5, to + 0.5] : [from, to];
}

/** The value of a line at the row closest to `x`; null if it has none near the view. */
export function valueAt(line: Curve, x: number): { x: number; y: number } | null {
  if (!line.x.length || x > line.x[line.x.length - 1]! + 1e-9) {
    const last = line.x.length - 1;
    return last >= 0 ? { x: line.x[last]!, y: line.y[last]! } : null;
  }
  const i = nearest(line.x, x);
  return { x: line.x[i]!, y: line.y[i]! };
}
