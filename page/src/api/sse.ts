// Server-sent events: the data of each event, from text that arrives cut anywhere.

/** Keeps what is not yet a whole line. Comments, and fields other than `data`, are passed over. */
export class SseParser {
  private rest = "";
  private data: string[] = [];

  /** The data of the events that `text` completes. */
  push(text: string): string[] {
    const events: string[] = [];
    this.rest += text;
    // A carriage return at the end may be the first half of one line end.
    const lines = this.rest.split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.data.length > 0) events.push(this.data.join("\n"));
        this.data = [];
      } else if (line === "data" || line.startsWith("data:")) {
        this.data.push(line.slice(5).replace(/^ /, ""));
      }
    }
    return events;
  }
}

/** The data of each event of a body, in order. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
