/** The scale of a chart's vertical axis, which stands in the address. */
import { query, setQuery } from "../app/router";
import { named, t } from "../i18n";
import { Choice } from "../ui/choice";
import type { ScaleKind } from "./scales";

const SCALES: readonly ScaleKind[] = ["linear", "log", "symlog"];

/** The scale that the address names; null where the chart chooses by its values. */
export const chosenScale = (): ScaleKind | null =>
  SCALES.find((each) => each === query.value.get("y")) ?? null;

export const ScaleChoice = () => (
  <Choice
    word="yAxis"
    value={chosenScale() ?? ""}
    options={[
      ["", t("scale_auto")],
      ...SCALES.map((each) => [each, named("scale", each)] as const),
    ]}
    onChange={(value) => setQuery({ y: value || null })}
  />
);
