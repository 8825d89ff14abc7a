import { describe, expect, it } from "vitest";
import { readEvents, SseParser } from "../src/api/sse";

function check(pieces: string[], expected: string[]): void {
  const parser = new SseParser();
  expect(pieces.flatMap((piece) => parser.push(piece))).toEqual(expected);
}

describe("server-sent events", () => {
  it("ends at a blank line, whatever the line ends are", () => {
    check(["data: a\n\ndata: b\n\n"], ["a", "b"]);
    check(["data: a\r\n\r\ndata: b\r\n\r\n"], ["a", "b"]);
    check(["data: a\r\rdata: b\r\r", "\n"], ["a", "b"]);
  });

  it("is the same however it is cut", () => {
    const text = ': alive\r\n\r\ndata: {"a": 1}\r\n\r\nevent: x\r\ndata: b\r\ndata: c\r\n\r\n';
    for (let size = 1; size < text.length; size++) {
      const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
      check(pieces, ['{"a": 1}', "b\nc"]);
    }
  });

  it("passes over comments, other fields and an event that is not whole", () => {
    check([": keep-alive\n\n", "id: 3\nretry: 5\n\n", "data\n\n", "data: lost"], [""]);
  });

  it("decodes letters that are cut", async () => {
    const bytes = new TextEncoder().encode("data: żółć\n\n");
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const events: string[] = [];
    for await (const event of readEvents(body)) events.push(event);
    expect(events).toEqual(["żółć"]);
  });
});
