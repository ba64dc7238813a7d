/** A text of the service, in which what stands between backticks is code. */
const PARTS = /`([^`\n]+)`/;

/** The parts of such a text: every second one is code. */
export const partsOf = (text: string): string[] => text.split(PARTS);

/** The text without its backticks, where nothing but text can be shown. */
export const plainOf = (text: string): string => partsOf(text).join("");

export function Coded({ text }: { text: string }) {
  return <>{partsOf(text).map((each, i) => (i % 2 ? <code key={i}>{each}</code> : each))}</>;
}
