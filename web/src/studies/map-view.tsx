/** The map of a study with its key and its table: values by two parameters, or basins of starts. */
import { useMemo, useState } from "preact/hooks";
import { lang, t } from "../i18n";
import { short } from "../ui/format";
import { shortName } from "./dial";
import type { Edge } from "./edge";
import { type Basins, type Pair, type Place, type StudyMap, shadeOf } from "./map";
import { LOST, type Look, MapPicture, shade } from "./map-picture";
import { unknownWords } from "./unknown";

const BASINS = ["c1", "c2", "c3", "c6", "c8", "c7"];
const OTHER = "c4";
const NOWHERE = "edge";

type Props = {
  map: StudyMap;
  pair: Pair;
  goal: "min" | "max";
  title: string;
  basins: Basins | null;
  edge: Edge | null;
  lit: number | null;
  onLight: (configuration: number | null) => void;
};

export function MapView({ map, pair, goal, title, basins, edge, lit, onLight }: Props) {
  const shades = useMemo(() => shadeOf(map.places, goal), [map, goal]);
  const look = useMemo(() => {
    if (basins) return (place: Place) => basinLook(place, basins);
    return (place: Place) => valueLook(place, shades.share);
  }, [shades, basins, lang.value]);
  const marks = basins?.minima.slice(0, BASINS.length) ?? [];
  const hasLost = map.places.some((place) => place.isLost);
  const unknown = basins ? [] : map.places.filter((place) => look(place).colour === NOWHERE);
  return (
    <>
      <MapPicture
        map={map}
        pair={pair}
        title={title}
        look={look}
        marks={marks.map(([x, y], i) => ({ x: x!, y: y!, text: `${i + 1}` }))}
        edge={edge}
        lit={lit}
        onLight={onLight}
      />
      <ul class="map-key">
        {basins ? <BasinKey basins={basins} /> : <ValueKey {...shades} />}
        {hasLost && (
          <li>
            <span class="map-swatch map-swatch-lost" aria-hidden="true">
              ✕
            </span>
            {t("outcome_diverged")}
          </li>
        )}
        {[...new Set(unknown.map((place) => look(place).words))].map((words) => (
          <KeyOf key={words} colour={NOWHERE} words={words} />
        ))}
        {edge && (
          <li>
            <span class="map-line" />
            {t(edge.isNesterov ? "mapEdgeNesterov" : "mapEdge", {
              curvature: short(edge.curvature),
            })}
          </li>
        )}
      </ul>
      <MapTable map={map} pair={pair} title={title} look={look} />
    </>
  );
}

function valueLook(place: Place, share: (value: number) => number): Look {
  const { value, isLost } = place;
  if (isLost) return { colour: LOST, words: t("outcome_diverged") };
  if (!Number.isFinite(value)) return { colour: NOWHERE, words: unknownWords(place) };
  return { colour: shade(share(value)), words: short(value) };
}

function basinLook(place: Place, { minima, of }: Basins): Look {
  if (place.isLost) return { colour: LOST, words: t("outcome_diverged") };
  const reached = of.get(place.configuration);
  if (reached === undefined) return { colour: NOWHERE, words: t("noValue") };
  if (reached === null) return { colour: NOWHERE, words: t("noMinimumNear") };
  return { colour: BASINS[reached] ?? OTHER, words: minimumWords(minima, reached) };
}

const minimumWords = (minima: Basins["minima"], n: number): string =>
  t("minimumAt", { n: n + 1, point: minima[n]!.map((x) => short(x, 3)).join(", ") });

/** Colours for the curves of the runs, by configuration. */
export function coloursOf(map: StudyMap, basins: Basins | null): Map<number, string> {
  return new Map(
    map.places.map((place) => {
      const reached = basins?.of.get(place.configuration) ?? null;
      const settled = basins ? (BASINS[reached ?? BASINS.length] ?? OTHER) : BASINS[0]!;
      return [place.configuration, place.isLost ? "c5" : settled];
    }),
  );
}

function ValueKey({ best, worst, isLog }: ReturnType<typeof shadeOf>) {
  if (!Number.isFinite(best)) return null;
  return (
    <li class="num">
      {short(best)}
      <span
        class="map-range"
        style={{ background: `linear-gradient(90deg, ${shade(0)}, ${shade(1)})` }}
      />
      {short(worst)}
      {isLog && <span class="muted">{t("scale_log")}</span>}
    </li>
  );
}

function BasinKey({ basins: { minima, of } }: { basins: Basins }) {
  const reached = new Set(of.values());
  const hasOthers = [...reached].some((each) => each !== null && each >= BASINS.length);
  return (
    <>
      {minima.slice(0, BASINS.length).map((_, n) => (
        <KeyOf key={n} colour={BASINS[n]!} words={minimumWords(minima, n)} />
      ))}
      {hasOthers && <KeyOf colour={OTHER} words={t("otherMinimum")} />}
      {reached.has(null) && <KeyOf colour={NOWHERE} words={t("noMinimumNear")} />}
    </>
  );
}

const KeyOf = ({ colour, words }: { colour: string; words: string }) => (
  <li class="num">
    <span class="map-swatch" style={{ background: `var(--${colour})` }} />
    {words}
  </li>
);

type TableProps = Pick<Props, "map" | "pair" | "title"> & { look: (place: Place) => Look };

/** The same as a table, for those who do not see the picture; made once it is asked for. */
function MapTable({ map, pair, title, look }: TableProps) {
  const [isOpen, setOpen] = useState(false);
  const told = isOpen ? map.places : [];
  const words = new Map(told.map((place) => [`${place.x} ${place.y}`, look(place).words]));
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("asTable")}</summary>
      {isOpen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
        <section class="map-table" tabIndex={0} aria-label={title}>
          <table class="small-table num">
            <thead>
              <tr>
                <th scope="col">
                  {shortName(pair[1])} \ {shortName(pair[0])}
                </th>
                {map.xs.map((x) => (
                  <th key={x} scope="col" class="right">
                    {short(x)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {map.ys.toReversed().map((y) => (
                <tr key={y}>
                  <th scope="row">{short(y)}</th>
                  {map.xs.map((x) => (
                    <td key={x} class="right">
                      {words.get(`${x} ${y}`) ?? "–"}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </details>
  );
}
