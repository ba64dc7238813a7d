/** What pictures on a canvas share: colours that are mixed, and the fineness of the screen. */

export type Rgb = readonly [number, number, number];

/** The colour that lies `share` of the way from one to another. */
export const mixed = (a: Rgb, b: Rgb, share: number): Rgb => [
  a[0] + share * (b[0] - a[0]),
  a[1] + share * (b[1] - a[1]),
  a[2] + share * (b[2] - a[2]),
];

export const css = (of: Rgb): string => `rgb(${of.map(Math.round).join(" ")})`;

/** Make a canvas as fine as the screen; returns its pixels a unit. */
export function sized(canvas: HTMLCanvasElement, width: number, height: number): number {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  return ratio;
}
