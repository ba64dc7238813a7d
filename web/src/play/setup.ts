/** What is raced: a function of two coordinates, a start, optimizers; as the address has it. */

export type Point = readonly [number, number];
/** Least and largest value of the first coordinate, then of the second. */
export type Extents = readonly [number, number, number, number];
export type Fields = Record<string, number | boolean | readonly number[]>;
export type Optimizer = { kind: string; fields: Fields };
export type FunctionSpec = { kind: string } & Record<string, unknown>;

export type Place = {
  name: string;
  spec: FunctionSpec;
  extents: Extents;
  start: Point;
  /** Rates that suit it: of gradient descent, and of methods that scale their steps. */
  rates: readonly [number, number];
};

const place = (
  kind: string,
  extents: Extents,
  start: Point,
  rates: readonly [number, number],
  spec: FunctionSpec = { kind },
): Place => ({ name: kind, spec, extents, start, rates });

const square = (size: number): Extents => [-size, size, -size, size];
const formula = (expression: string): FunctionSpec => ({ kind: "expression", expression });

/** Functions to choose from, each where it is customarily looked at. */
export const PLACES: readonly Place[] = [
  place("ravine", [-4, 4, -3, 3], [3, 2], [0.06, 0.2], { kind: "quadratic", eigenvalues: [1, 30] }),
  place("saddle", [-2.2, 2.2, -2.5, 2.5], [1.6, 0], [0.1, 0.1], formula("x**2 - y**2 + y**4/4")),
  place("rosenbrock", [-2, 2, -1, 3], [-1.2, 1], [0.001, 0.05]),
  place("himmelblau", square(5), [-0.5, -1], [0.01, 0.1]),
  place("beale", square(4.5), [1, 1], [0.01, 0.05]),
  place("rastrigin", square(5.12), [2.2, -1.7], [0.002, 0.1]),
  place("ackley", square(5), [2.3, -1.6], [0.02, 0.1]),
  place("styblinski_tang", square(5), [-0.2, 1], [0.01, 0.1]),
  place("three_hump_camel", [-2.5, 2.5, -2, 2], [1.2, -1.5], [0.02, 0.05]),
  place("six_hump_camel", [-2, 2, -1.2, 1.2], [0.5, -1], [0.02, 0.05]),
  place("branin", [-5, 10, 0, 15], [2.5, 7.5], [0.01, 0.3]),
  place("booth", square(10), [-5, 4], [0.05, 0.5]),
  place("matyas", square(10), [6, -2], [0.3, 0.3]),
  place("goldstein_price", square(2), [0.5, -0.5], [1e-5, 0.02]),
];
export const OWN = "own";
const USUAL = "0.5*x**2 + 3*y**2 + sin(3*x)";

const BETAS = [0.9, 0.999];
/** Optimizers to choose from, with their own fields as torch has them by default. */
export const MENU: Readonly<Record<string, { kind: string; fields: Fields; rate: 0 | 1 | null }>> =
  {
    gradient_descent: { kind: "sgd", fields: { lr: 0.01 }, rate: 0 },
    momentum: { kind: "sgd", fields: { lr: 0.01, momentum: 0.9 }, rate: 0 },
    nesterov: { kind: "sgd", fields: { lr: 0.01, momentum: 0.9, nesterov: true }, rate: 0 },
    rmsprop: { kind: "rmsprop", fields: { lr: 0.01, alpha: 0.99 }, rate: 1 },
    adam: { kind: "adam", fields: { lr: 0.1, betas: BETAS }, rate: 1 },
    nadam: { kind: "nadam", fields: { lr: 0.1, betas: BETAS }, rate: 1 },
    adagrad: { kind: "adagrad", fields: { lr: 0.1 }, rate: 1 },
    adadelta: { kind: "adadelta", fields: { lr: 1, rho: 0.9 }, rate: null },
    lion: { kind: "lion", fields: { lr: 0.1, betas: [0.9, 0.99] }, rate: 1 },
    lbfgs: { kind: "lbfgs", fields: { lr: 1 }, rate: null },
  };
const FIRST = ["gradient_descent", "momentum", "rmsprop", "adam"];
/** So many differ by their colours. */
export const MOST_RACERS = 8;
export const MOST_STEPS = 1000;
const STEPS = 200;

/** The name in `MENU` of what an optimizer does, else its kind. */
export function nameOf({ kind, fields }: Optimizer): string {
  if (kind !== "sgd") return kind;
  if (!fields.momentum) return "gradient_descent";
  return fields.nesterov ? "nesterov" : "momentum";
}

/** The names, each that comes more than once with its number: "Adam 1", "Adam 2". */
export function numbered(names: readonly string[]): string[] {
  return names.map((name, i) =>
    names.filter((each) => each === name).length === 1
      ? name
      : `${name} ${names.slice(0, i + 1).filter((each) => each === name).length}`,
  );
}

/** An optimizer of the menu, at a rate that suits the place. */
export function suited(name: string, at: Place): Optimizer {
  const { kind, fields, rate } = MENU[name]!;
  if (rate === null) return { kind, fields };
  // Nesterov's largest stable rate is 0.68 of gradient descent's at a momentum of 0.9.
  return { kind, fields: { ...fields, lr: at.rates[rate] * (fields.nesterov ? 0.5 : 1) } };
}

export type Setup = {
  place: Place;
  /** The text of one's own formula; null where the function is one of the list. */
  expression: string | null;
  extents: Extents;
  start: Point;
  optimizers: Optimizer[];
  steps: number;
  /** Jobs of a race that was started, one an optimizer. */
  jobs: string[];
};

const numbers = (text: string | null, count: number): number[] | null => {
  const found = text?.split(",").map(Number);
  return found?.length === count && found.every(Number.isFinite) ? found : null;
};

/** Read the address; what is missing, or cannot be read, is as it is at first. */
export function setupOf(query: URLSearchParams): Setup {
  const own = query.get("e");
  const listed = PLACES.find((each) => each.name === query.get("f")) ?? PLACES[0]!;
  const at: Place =
    own === null ? listed : { ...place(OWN, square(3), [2, 1.5], [0.05, 0.1], formula(own)) };
  const extents = numbers(query.get("w"), 4);
  const isOrdered = extents !== null && extents[0]! < extents[1]! && extents[2]! < extents[3]!;
  const given = query.getAll("o").slice(0, MOST_RACERS).map(readOptimizer);
  const steps = Number(query.get("n") ?? STEPS);
  return {
    place: at,
    expression: own,
    extents: isOrdered ? (extents as unknown as Extents) : at.extents,
    start: (numbers(query.get("s"), 2) as unknown as Point | null) ?? at.start,
    optimizers: given.length ? given : FIRST.map((name) => suited(name, at)),
    steps: steps >= 1 && steps <= MOST_STEPS ? Math.round(steps) : STEPS,
    jobs: query.getAll("job").slice(0, MOST_RACERS),
  };
}

/** The query that chooses a function, with rates that suit it, and forgets what was raced. */
export function choosing(name: string, racers: readonly Optimizer[]): Query {
  const at = PLACES.find((each) => each.name === name);
  const forgotten = { w: null, s: null, job: null };
  if (!at) return { ...forgotten, f: null, e: USUAL, o: null };
  const optimizers = racers.map((each) => {
    const known = nameOf(each);
    const lr = known in MENU ? suited(known, at).fields.lr : undefined;
    return lr === undefined ? each : { ...each, fields: { ...each.fields, lr } };
  });
  return { ...forgotten, f: name, e: null, o: optimizers.map(writeOptimizer) };
}
export type Query = Record<string, string | string[] | null>;

/** `adam,lr=0.1,betas=0.9:0.999` */
export function writeOptimizer({ kind, fields }: Optimizer): string {
  const parts = Object.entries(fields).map(
    ([name, value]) => `${name}=${Array.isArray(value) ? value.join(":") : value}`,
  );
  return [kind, ...parts].join(",");
}

export function readOptimizer(text: string): Optimizer {
  const [kind, ...parts] = text.split(",");
  const fields: Fields = {};
  for (const part of parts) {
    const [name, value = ""] = part.split("=");
    if (!name) continue;
    if (value === "true" || value === "false") fields[name] = value === "true";
    else fields[name] = value.includes(":") ? value.split(":").map(Number) : Number(value);
  }
  return { kind: kind ?? "", fields };
}

const CONSTANTS = new Set(["pi", "e", "tau", "and", "or", "not"]);

/** The names of a formula that are neither called nor constants: its variables, in the order of the
 * service. */
export function variablesOf(expression: string): string[] {
  const names = expression.matchAll(/(?<![\w.])[A-Za-z_]\w*(?!\w|\s*\()/g);
  const found = [...new Set([...names].map(([name]) => name))];
  return found.filter((name) => !CONSTANTS.has(name)).sort(byParts);
}

/** As the service orders names: x2 before x10, digits before letters. */
function byParts(a: string, b: string): number {
  const [ours, theirs] = [a, b].map((name) => name.split(/(\d+)/).filter(Boolean));
  for (const [i, part] of ours!.entries()) {
    const other = theirs![i];
    if (other === undefined) return 1;
    if (part === other) continue;
    const [isNumber, isOther] = [part, other].map((each) => /^\d/.test(each));
    if (isNumber !== isOther) return isNumber ? -1 : 1;
    if (isNumber && Number(part) !== Number(other)) return Number(part) - Number(other);
    if (!isNumber) return part < other ? -1 : 1;
  }
  return ours!.length - theirs!.length;
}

/** The job of one of the racers. Its points are exact: all of them, in double precision. */
export function jobOf(of: Setup, optimizer: Optimizer): Record<string, unknown> {
  const { spec } = of.place;
  const [first = "x", second = "y"] = variablesOf(String(spec.expression ?? ""));
  const [x, y] = of.start;
  const start = spec.kind === "expression" ? { [first]: x, [second]: y } : [x, y];
  return {
    problem: { kind: "function", function: spec, start },
    optimizer: { kind: optimizer.kind, ...optimizer.fields },
    budget: { max_steps: of.steps },
    precision: "float64",
    diagnose: "full",
  };
}
