/** Where in a JSON text each value stands, so that a mistake can be shown at its line. */

export type Places = Map<string, number>;

/** Line (from 1) of each field of a JSON text, by dotted path; of what is not JSON, as far as it is. */
export function placesIn(text: string): Places {
  const found: Places = new Map([["", 1]]);
  let line = 1;
  let at = 0;
  const blank = (): void => {
    for (; at < text.length && /\s/.test(text[at]!); at++) if (text[at] === "\n") line++;
  };
  const string = (): string => {
    const begin = at++;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at++;
    try {
      return JSON.parse(text.slice(begin, at)) as string;
    } catch {
      throw new Broken();
    }
  };
  const value = (path: string): void => {
    blank();
    if (path) found.set(path, line);
    const first = text[at];
    if (first === "{" || first === "[") list(path, first === "{");
    else if (first === '"') string();
    else {
      const begin = at;
      while (at < text.length && /[^\s,\]}]/.test(text[at]!)) at++;
      if (at === begin) throw new Broken();
    }
  };
  const list = (path: string, isObject: boolean): void => {
    const end = isObject ? "}" : "]";
    at++;
    for (let index = 0; ; index++) {
      blank();
      if (text[at] === end) {
        at++;
        return;
      }
      let name = String(index);
      if (isObject) {
        if (text[at] !== '"') throw new Broken();
        name = string();
        blank();
        if (text[at++] !== ":") throw new Broken();
      }
      value(path ? `${path}.${name}` : name);
      blank();
      if (text[at] === ",") at++;
      else if (text[at] !== end) throw new Broken();
    }
  };
  try {
    value("");
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
  }
  return found;
}

class Broken extends Error {}

/** The line of a field, or of the closest thing around it. */
export function lineOf(places: Places, param: string): number {
  for (let path = param; path; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
    const line = places.get(path);
    if (line !== undefined) return line;
  }
  return 1;
}

/** The line and the column that a position of a text is at. */
export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split("\n").length;
}
