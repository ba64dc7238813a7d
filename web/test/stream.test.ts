import { expect, test } from "vitest";
import { parseEvents } from "../src/api/events";

const ONE = 'id: a1\nevent: points\ndata: {"n": 1}\n\n';

test("events are cut wherever the network cuts the text", () => {
  const text = `retry: 1000\n\n${ONE}: ping\n\nid: a2\nevent: end\ndata: {"n": 2}\n\n`;
  for (let cut = 0; cut <= text.length; cut++) {
    const first = parseEvents(text.slice(0, cut));
    const second = parseEvents(first.rest + text.slice(cut));
    expect([...first.events, ...second.events]).toEqual([
      { id: "a1", type: "points", data: { n: 1 } },
      { id: "a2", type: "end", data: { n: 2 } },
    ]);
    expect(second.rest).toBe("");
  }
});

test("a ping is no event, and carriage returns do not matter", () => {
  expect(parseEvents(": ping\n\n").events).toEqual([]);
  expect(parseEvents(ONE.replaceAll("\n", "\r\n")).events).toHaveLength(1);
});
