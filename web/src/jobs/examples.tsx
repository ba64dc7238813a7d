/** Jobs to begin with: each shows one thing that can happen on the way down. */
import { ROOT } from "../api/client";
import { t, type Word } from "../i18n";

type Example = { name: Word; about: Word; text: string };

const example = (name: Word, about: Word, spec: object): Example => ({
  name,
  about,
  text: JSON.stringify(spec, null, 2),
});

const VALLEY = { kind: "quadratic", eigenvalues: [1, 30] };

export const EXAMPLES: readonly Example[] = [
  example("exampleOscillating", "exampleOscillatingAbout", {
    problem: { kind: "function", function: VALLEY, start: [3, 2] },
    optimizer: { kind: "sgd", lr: 0.0665 },
    budget: { max_steps: 300 },
  }),
  example("exampleSlow", "exampleSlowAbout", {
    problem: { kind: "function", function: VALLEY, start: [3, 2] },
    optimizer: { kind: "sgd", lr: 0.0005 },
    budget: { max_steps: 300 },
  }),
  example("exampleSaddle", "exampleSaddleAbout", {
    problem: {
      kind: "function",
      function: { kind: "expression", expression: "x1**2 - x2**2 + x2**4 / 4" },
      start: { x1: 1, x2: 0 },
    },
    optimizer: { kind: "sgd", lr: 0.1 },
    budget: { max_steps: 200 },
    diagnose: "full",
  }),
  example("exampleDigits", "exampleDigitsAbout", {
    problem: {
      kind: "supervised",
      data: { kind: "builtin", name: "digits" },
      model: { kind: "mlp", hidden: [64] },
    },
    optimizer: { kind: "adam", lr: 0.001 },
    budget: { max_steps: 2000 },
  }),
];

type CardProps = { example: Example; onChoose?: () => void };

/** An example: chosen in the editor, or a link that fills it. */
export function ExampleCard({ example: { name, about, text }, onChoose }: CardProps) {
  const href = `${ROOT}/jobs?spec=${encodeURIComponent(JSON.stringify(JSON.parse(text)))}`;
  return onChoose ? (
    <button type="button" class="example" onClick={onChoose}>
      <b>{t(name)}</b>
      <span>{t(about)}</span>
    </button>
  ) : (
    <a class="example" href={href}>
      <b>{t(name)}</b>
      <span>{t(about)}</span>
    </a>
  );
}

/** What an empty list shows. */
export function Examples() {
  return (
    <section class="welcome">
      <h2>{t("welcome")}</h2>
      <p>{t("welcomeText")}</p>
      <div class="examples">
        {EXAMPLES.map((each) => (
          <ExampleCard key={each.name} example={each} />
        ))}
      </div>
    </section>
  );
}
