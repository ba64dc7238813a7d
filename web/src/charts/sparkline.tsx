/** A small curve of the loss, as one path: a gap where it is not finite, and a mark there. */
import { extentOf, scaleOf, suggested, TOO_LARGE, thresholdOf } from "./scales";

const WIDTH = 120;
const HEIGHT = 26;

export function Sparkline({ y, label }: { y: Float64Array; label: string }) {
  const extent = extentOf([y]);
  const kind = suggested(extent);
  // Without room for marks of values that a logarithmic axis has no place for, it is one that has.
  const scale = scaleOf(kind === "log" && extent.low <= 0 ? "symlog" : kind, thresholdOf(extent));
  const forward = (value: number): number =>
    Math.abs(value) < TOO_LARGE ? scale.forward(value) : Number.NaN;
  const low = forward(extent.low);
  const span = forward(extent.high) - low || 1;
  const at = (i: number): number => 2 + ((WIDTH - 4) * i) / Math.max(1, y.length - 1);
  let path = "";
  let isOpen = false;
  const gaps: number[] = [];
  for (let i = 0; i < y.length; i++) {
    const height = forward(y[i]!);
    if (!Number.isFinite(height)) {
      gaps.push(at(i));
      isOpen = false;
      continue;
    }
    const top = HEIGHT - 3 - ((HEIGHT - 6) * (height - low)) / span;
    path += `${isOpen ? "L" : "M"}${at(i).toFixed(1)} ${top.toFixed(1)}`;
    if (!isOpen) path += "h.01"; // a lone point is seen, too
    isOpen = true;
  }
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <path d={path} />
      {gaps.map((x) => (
        <path key={x} class="spark-gap" d={`M${x - 2} 1l4 4m0-4l-4 4`} />
      ))}
    </svg>
  );
}
