import { describe, expect, test } from "vitest";
import { edgeOf, largestEigenvalue } from "../src/studies/edge";

const quadratic = (of: object, optimizer: object = {}, more: object = {}) => ({
  problem: { kind: "function", function: { kind: "quadratic", ...of }, bounds: null },
  optimizer: {
    kind: "sgd",
    nesterov: false,
    weight_decay: 0,
    dampening: 0,
    wrap: [],
    ...optimizer,
  },
  schedule: { kind: "constant" },
  gradient_clip: null,
  ...more,
});

/** How much larger the error along an eigenvalue is after many steps, by torch's convention. */
function growth(rate: number, momentum: number, curvature: number, isNesterov: boolean): number {
  let [x, buffer] = [1, 0];
  const sizes: number[] = [];
  for (let step = 0; step < 4_000; step++) {
    const gradient = curvature * x;
    buffer = momentum * buffer + gradient;
    x -= rate * (isNesterov ? gradient + momentum * buffer : buffer);
    sizes.push(Math.hypot(x, rate * buffer));
    if (sizes.at(-1)! > 1e100) break;
  }
  return Math.max(...sizes.slice(-50)) / Math.max(...sizes.slice(0, 50));
}

describe("the edge of stability", () => {
  const momenta = [0, 0.1, 0.5, 0.9, 0.98];
  for (const nesterov of [false, true]) {
    test(`parts runs that shrink from runs that grow, Nesterov: ${nesterov}`, () => {
      const edge = edgeOf(quadratic({ eigenvalues: [0.5, 7, 3] }, { nesterov }))!;
      expect(edge.curvature).toBe(7);
      for (const momentum of momenta) {
        const rate = edge.rateAt(momentum);
        expect(growth(0.99 * rate, momentum, 7, nesterov)).toBeLessThan(1);
        expect(growth(1.01 * rate, momentum, 7, nesterov)).toBeGreaterThan(1);
      }
    });
  }
  test("is not told where it is not known", () => {
    const known = { eigenvalues: [1, 10] };
    expect(edgeOf(quadratic(known))!.rateAt(0.5)).toBeCloseTo(0.3);
    for (const base of [
      quadratic(known, { kind: "adam" }),
      quadratic(known, { weight_decay: 0.1 }),
      quadratic(known, { dampening: 0.1 }),
      quadratic(known, { maximize: true }),
      quadratic(known, { cautious: true }),
      quadratic(known, { wrap: [{ kind: "sam" }] }),
      quadratic(known, {}, { schedule: { kind: "cosine" } }),
      quadratic(known, {}, { gradient_clip: { kind: "norm" } }),
      quadratic({ eigenvalues: [-1, -2] }),
      quadratic({ kind: "rosenbrock" }),
      {},
    ]) {
      expect(edgeOf(base)).toBeNull();
    }
  });
  test("knows the largest eigenvalue of a matrix", () => {
    const matrix = [
      [2, 1, 0],
      [1, 2, 1],
      [0, 1, 2],
    ];
    expect(largestEigenvalue(matrix)).toBeCloseTo(2 + Math.SQRT2, 12);
    expect(largestEigenvalue([[-3]])).toBe(-3);
    expect(edgeOf(quadratic({ eigenvalues: null, matrix }))!.curvature).toBeCloseTo(3.4142, 4);
    // Of P D P, P a reflection, the eigenvalues are those of D.
    const n = 12;
    const axis = Array.from({ length: n }, (_, i) => Math.sin(1 + i));
    const length = axis.reduce((sum, each) => sum + each * each, 0);
    const p = (i: number, j: number) => Number(i === j) - (2 * axis[i]! * axis[j]!) / length;
    const turned = axis.map((_, i) =>
      axis.map((_, j) => axis.reduce((sum, _, k) => sum + p(i, k) * (k - 8) * p(k, j), 0)),
    );
    expect(largestEigenvalue(turned)).toBeCloseTo(3, 10);
  });
});
