/** What is raced: the function, the start, the optimizers with their fields. */
import { setQuery } from "../app/router";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import { Coded } from "../ui/coded";
import {
  choosing,
  MENU,
  MOST_RACERS,
  MOST_STEPS,
  nameOf,
  numbered,
  type Optimizer,
  OWN,
  PLACES,
  type Point,
  type Setup,
  suited,
  writeOptimizer,
} from "./setup";

const COLOURS = ["c2", "c3", "c6", "c5", "c7", "c8", "c1", "c4"] as const;
export const colourOf = (index: number): string => COLOURS[index % COLOURS.length]!;
const titleOf = (optimizer: Optimizer): string => named("racer", nameOf(optimizer));

/** What the racers are called: no two the same. */
export const titlesOf = (racers: readonly Optimizer[]): string[] => numbered(racers.map(titleOf));

type Props = { of: Setup; start: Point; mistakes: readonly string[]; onMove: (to: Point) => void };

export function Chooser({ of, start, mistakes, onMove }: Props) {
  const functions = [...PLACES.map((each) => each.name), OWN];
  return (
    <section class="card play-choose" aria-label={t("playSetup")}>
      <label class="field">
        <span>{t("playFunction")}</span>
        <select
          value={of.place.name}
          onChange={(event) => setQuery(choosing(event.currentTarget.value, of.optimizers))}
        >
          {functions.map((name) => (
            <option key={name} value={name}>
              {named("place", name)}
            </option>
          ))}
        </select>
      </label>
      {of.expression !== null && (
        <label class="field">
          <span>{t("playFormula")}</span>
          <input
            class="mono"
            spellcheck={false}
            autocapitalize="off"
            value={of.expression}
            onInput={(event) => setQuery({ e: event.currentTarget.value, job: null })}
          />
        </label>
      )}
      <div class="play-numbers">
        {([0, 1] as const).map((axis) => (
          <NumberField
            key={axis}
            name={t(axis === 0 ? "playStartX" : "playStartY")}
            value={start[axis]}
            onChange={(value) => onMove(axis === 0 ? [value, start[1]] : [start[0], value])}
          />
        ))}
        <NumberField
          name={t("playSteps")}
          value={of.steps}
          min={1}
          max={MOST_STEPS}
          onChange={(value) => setQuery({ n: String(Math.round(value)), job: null })}
        />
      </div>
      <Racers of={of} mistakes={mistakes} />
    </section>
  );
}

function Racers({ of, mistakes }: Pick<Props, "of" | "mistakes">) {
  const write = (racers: readonly Optimizer[]): void =>
    setQuery({ o: racers.map(writeOptimizer), job: null });
  const changed = (index: number, to: Optimizer): void =>
    write(of.optimizers.map((each, i) => (i === index ? to : each)));
  const titles = titlesOf(of.optimizers);
  const menu = Object.keys(MENU).map((name) => [name, named("racer", name)] as const);
  return (
    <>
      <ul class="racers">
        {of.optimizers.map((racer, index) => (
          <li key={index}>
            <span class="racer-head">
              <span class="racer-dot" style={{ background: `var(--${colourOf(index)})` }} />
              <b>{titles[index]}</b>
              <span class="spacer" />
              {of.optimizers.length > 1 && (
                <button
                  type="button"
                  class="quiet icon"
                  aria-label={t("playRemove", { name: titles[index]! })}
                  onClick={() => write(of.optimizers.filter((_, i) => i !== index))}
                >
                  ✕
                </button>
              )}
            </span>
            <span class="racer-fields">
              <FieldsOf racer={racer} index={index} onChange={(to) => changed(index, to)} />
            </span>
            {mistakes[index] && (
              <p class="bad-text small" role="alert" lang="en">
                <Coded text={mistakes[index]} />
              </p>
            )}
          </li>
        ))}
      </ul>
      {of.optimizers.length < MOST_RACERS && (
        <Choice
          word="playAdd"
          value=""
          options={[["", t("playAdd")], ...menu]}
          onChange={(name) => name && write([...of.optimizers, suited(name, of.place)])}
        />
      )}
    </>
  );
}

type FieldsProps = { racer: Optimizer; index: number; onChange: (to: Optimizer) => void };

/** One input a number; lists have one for each of theirs. */
function FieldsOf({ racer, index, onChange }: FieldsProps) {
  const title = `${titleOf(racer)} ${index + 1}`;
  const set = (name: string, value: Optimizer["fields"][string]): void =>
    onChange({ ...racer, fields: { ...racer.fields, [name]: value } });
  return (
    <>
      {Object.entries(racer.fields).map(([name, value]) => {
        if (typeof value === "boolean") {
          return (
            <label key={name} class="inline small">
              <input
                type="checkbox"
                aria-label={`${title}: ${name}`}
                checked={value}
                onChange={() => set(name, !value)}
              />
              {name}
            </label>
          );
        }
        const list = typeof value === "number" ? [value] : value;
        return list.map((each, i) => (
          <NumberField
            key={`${name} ${i}`}
            name={list.length > 1 ? `${name} ${i + 1}` : name}
            label={`${title}: ${name}${list.length > 1 ? ` ${i + 1}` : ""}`}
            value={each}
            onChange={(to) =>
              set(name, list.length > 1 ? list.map((old, n) => (n === i ? to : old)) : to)
            }
          />
        ));
      })}
    </>
  );
}

type NumberProps = {
  name: string;
  label?: string;
  value: number;
  min?: number;
  max?: number;
  onChange: (value: number) => void;
};

const NumberField = ({ name, label, value, min, max, onChange }: NumberProps) => (
  <label class="field small">
    <span>{name}</span>
    <input
      type="number"
      class="num"
      step="any"
      aria-label={label ?? name}
      value={value}
      min={min}
      max={max}
      onChange={(event) => {
        const found = event.currentTarget.valueAsNumber;
        const isIn = found >= (min ?? -Infinity) && found <= (max ?? Infinity);
        if (Number.isFinite(found) && isIn) onChange(found);
        else event.currentTarget.value = String(value);
      }}
    />
  </label>
);
