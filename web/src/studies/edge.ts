/** The largest rate at which gradient descent with momentum is stable on a quadratic. */

type Spec = Record<string, unknown>;
const part = (of: Spec, name: string): Spec => (of[name] ?? {}) as Spec;

/** The edge of stability of a study's base, by the momentum; `curvature` is the λ that it is for. */
export type Edge = { curvature: number; isNesterov: boolean; rateAt: (momentum: number) => number };

/** The edge where it is known: SGD at a constant rate on a quadratic without bounds. A rate η is stable
 * below (2 + 2β)/λ, with Nesterov's momentum below (2 + 2β)/((1 + 2β)λ), λ the largest eigenvalue
 * (Polyak 1964; Cohen et al. 2021, section 5 and appendix B). Null elsewhere. */
export function edgeOf(base: Spec): Edge | null {
  const [problem, optimizer] = [part(base, "problem"), part(base, "optimizer")];
  const isPlain =
    optimizer.kind === "sgd" &&
    !optimizer.maximize &&
    !optimizer.cautious &&
    !optimizer.weight_decay &&
    !optimizer.dampening &&
    !((optimizer.wrap ?? []) as unknown[]).length &&
    (part(base, "schedule").kind ?? "constant") === "constant" &&
    !base.gradient_clip &&
    !problem.bounds;
  const curvature = isPlain ? largestCurvature(problem) : null;
  if (curvature === null || !(curvature > 0)) return null;
  const isNesterov = optimizer.nesterov === true;
  const rateAt = (momentum: number): number =>
    (2 + 2 * momentum) / ((isNesterov ? 1 + 2 * momentum : 1) * curvature);
  return { curvature, isNesterov, rateAt };
}

/** The largest eigenvalue of a quadratic's Hessian; null for another function. */
function largestCurvature(problem: Spec): number | null {
  const of = part(problem, "function");
  if (problem.kind !== "function" || of.kind !== "quadratic") return null;
  if (Array.isArray(of.eigenvalues)) return Math.max(...(of.eigenvalues as number[]));
  const matrix = of.matrix as number[][] | null | undefined;
  return matrix && matrix.length <= LARGEST_MATRIX ? largestEigenvalue(matrix) : null;
}

const LARGEST_MATRIX = 50;
const SWEEPS = 30;

/** The largest eigenvalue of the symmetric part of a matrix, by Jacobi's rotations. */
export function largestEigenvalue(matrix: readonly (readonly number[])[]): number {
  const n = matrix.length;
  const a = matrix.map((row, i) => row.map((value, j) => (value + matrix[j]![i]!) / 2));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, p, q);
  }
  return Math.max(...a.map((row, i) => row[i]!));
}

/** Make a[p][q] zero by a rotation in the plane of p and q (Golub and Van Loan 2013, section 8.5). */
function rotate(a: number[][], p: number, q: number): void {
  const off = a[p]![q]!;
  if (off === 0) return;
  const tau = (a[q]![q]! - a[p]![p]!) / (2 * off);
  const tan = (tau >= 0 ? 1 : -1) / (Math.abs(tau) + Math.hypot(1, tau));
  const cos = 1 / Math.hypot(1, tan);
  const sin = tan * cos;
  for (const row of a) {
    const [x, y] = [row[p]!, row[q]!];
    row[p] = cos * x - sin * y;
    row[q] = sin * x + cos * y;
  }
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[p]![k]!, a[q]![k]!];
    a[p]![k] = cos * x - sin * y;
    a[q]![k] = sin * x + cos * y;
  }
}
