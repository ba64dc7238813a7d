/** The form of server-sent events. */
import { parse } from "./json";

export type StreamEvent = { type: string; id: string; data: unknown };

/** Cut a text into events; `rest` is the beginning of one that is not whole yet. */
export function parseEvents(text: string): { events: StreamEvent[]; rest: string } {
  const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
  const rest = blocks.pop() ?? "";
  const events: StreamEvent[] = [];
  for (const block of blocks) {
    let type = "message";
    let id = "";
    const data: string[] = [];
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon <= 0) continue;
      const value = line.slice(colon + 1).replace(/^ /, "");
      const name = line.slice(0, colon);
      if (name === "event") type = value;
      else if (name === "id") id = value;
      else if (name === "data") data.push(value);
    }
    if (data.length) events.push({ type, id, data: parse(data.join("\n")) });
  }
  return { events, rest };
}
