/** A choice among a few names. */
import { t, type Word } from "../i18n";

type Props = {
  word: Word;
  value: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string) => void;
};

export const Choice = ({ word, value, options, onChange }: Props) => (
  <select
    aria-label={t(word)}
    title={t(word)}
    value={value}
    onChange={(e) => onChange(e.currentTarget.value)}
  >
    {options.map(([name, text]) => (
      <option key={name} value={name}>
        {text}
      </option>
    ))}
  </select>
);
