import { afterEach, describe, expect, it, vi } from "vitest";
import { type Answer, ask, bodyOf, emptyAnswer, fold, listModels } from "../src/api/chat";
import { failureInStream, failureOfResponse } from "../src/api/failure";
import { append, type Message, newConversation, pathOf } from "../src/talk/conversation";
import { DEFAULTS } from "../src/talk/settings";

const message = (more: Partial<Message> & Pick<Message, "id" | "role">): Message => ({ parent: null, at: 0, text: "", finish: "stop", ...more });

describe("a request", () => {
  const conversation = (settings: Partial<typeof DEFAULTS>, ...messages: Message[]) =>
    messages.reduce(append, newConversation({ ...DEFAULTS, ...settings }));
  const body = (of: ReturnType<typeof conversation>) => bodyOf(of, pathOf(of)) as Record<string, unknown>;

  it("says only what was chosen", () => {
    expect(body(conversation({}, message({ id: "u", role: "user", text: "Hi" })))).toEqual({
      messages: [{ role: "user", content: "Hi" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chosen = body(conversation({ effort: "high", temperature: 0, topP: 0.5, maxTokens: 9, seed: 0, instructions: " Be brief. ", functions: '{"name": "f"}', hasProbabilities: true, model: "m" }));
    expect(chosen).toMatchObject({ model: "m", reasoning_effort: "high", temperature: 0, top_p: 0.5, max_completion_tokens: 9, seed: 0, logprobs: true });
    expect(chosen.messages).toEqual([{ role: "system", content: "Be brief." }]);
    expect(chosen.tools).toEqual([{ type: "function", function: { name: "f" } }]);
  });

  it("gives the reasoning before calls back, and leaves out what broke off", () => {
    const calls = [{ id: "c", name: "f", arguments: "{}" }];
    const user = message({ id: "u", role: "user", text: "Hi" });
    const whole = message({ id: "a", role: "assistant", parent: "u", reasoning: "Hm", calls, finish: "tool_calls" });
    const result = message({ id: "t", role: "tool", parent: "a", text: "1", callId: "c" });
    expect(body(conversation({}, user, whole, result)).messages).toEqual([
      { role: "user", content: "Hi" },
      { role: "assistant", content: null, reasoning: "Hm", tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "c", content: "1" },
    ]);
    const stopped = { ...whole, finish: "stopped" as const, text: "I" };
    expect(body(conversation({}, user, stopped)).messages).toEqual([
      { role: "user", content: "Hi" },
      { role: "assistant", content: "I" },
    ]);
    expect(body(conversation({}, user, { ...stopped, text: "" })).messages).toHaveLength(1);
  });
});

describe("an answer", () => {
  it("is what its chunks add up to", () => {
    const chunks = [
      { model: "demo", choices: [{ delta: { role: "assistant" } }] },
      { choices: [{ delta: { reasoning: "a", reasoning_content: "a" } }] },
      { choices: [{ delta: { reasoning_content: "b" } }] },
      { choices: [{ delta: { content: "x" }, logprobs: { content: [{ token: "x", logprob: -1, top_logprobs: [] }] } }] },
      { choices: [{ delta: { tool_calls: [{ index: 0, id: "c", function: { name: "f", arguments: "" } }] } }] },
      { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] } }] },
      { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: ": 1}" } }] } }] },
      { choices: [{ delta: {}, finish_reason: "tool_calls" }], warnings: ["w"] },
      { choices: [], usage: { prompt_tokens: 5, completion_tokens: 7, prompt_tokens_details: { cached_tokens: 2 }, completion_tokens_details: { reasoning_tokens: 3 } } },
    ];
    const answer = chunks.reduce<Answer>((answer, chunk) => fold(answer, chunk as Parameters<typeof fold>[1]), emptyAnswer());
    expect(answer).toEqual({
      text: "x",
      reasoning: "ab",
      calls: [{ id: "c", name: "f", arguments: '{"a": 1}' }],
      finish: "tool_calls",
      warnings: ["w"],
      usage: { promptTokens: 5, cachedTokens: 2, completionTokens: 7, reasoningTokens: 3 },
      probabilities: [{ token: "x", logprob: -1, top: [] }],
      model: "demo",
      chunks: 6,
    });
  });

  afterEach(() => vi.unstubAllGlobals());

  async function asked(response: () => Promise<Response> | Response): Promise<string | null> {
    vi.stubGlobal("fetch", async () => response());
    const failure = await ask({}, "", new AbortController().signal, () => undefined);
    return failure === null ? null : failure.kind;
  }

  it("says why it did not come", async () => {
    const error = (code: string) => JSON.stringify({ error: { message: "m", code } });
    expect(await asked(() => Promise.reject(new TypeError()))).toBe("network");
    expect(await asked(() => new Response(error("invalid_api_key"), { status: 401 }))).toBe("key");
    expect(await asked(() => new Response(error("context_length_exceeded"), { status: 400 }))).toBe("context");
    expect(await asked(() => new Response(error("invalid_value"), { status: 400 }))).toBe("refused");
    expect(await asked(() => new Response(error("server_busy"), { status: 429 }))).toBe("busy");
    expect(await asked(() => new Response("<html>", { status: 502 }))).toBe("server");
    expect(await asked(() => new Response("data: {}\n\n"))).toBe("broken");
    expect(await asked(() => new Response("data: {\n\n"))).toBe("broken");
    expect(await asked(() => new Response('data: {"error": {"message": "m"}}\n\n'))).toBe("broken");
    expect(await asked(() => new Response("data: [DONE]\n\n"))).toBeNull();
  });

  it("says in a stream what a status would have said", () => {
    const kind = (code: string) => failureInStream({ error: { message: "m", code } })?.kind;
    expect(["context_length_exceeded", "model_not_loaded", "server_overloaded", "engine_error"].map(kind)).toEqual(["context", "busy", "busy", "broken"]);
    expect(failureInStream({ choices: [] })).toBeNull();
  });

  it("says when to retry", () => {
    expect(failureOfResponse(429, "", "7").advice).toBe("Retry in 7 s.");
    expect(failureOfResponse(429, "", null).advice).toBe("Retry in a moment.");
  });
});

describe("the models", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("are listed with where they are", async () => {
    const data = [{ id: "a", demo: true, context_length: 9, status: { value: "loading" } }, { id: "b" }];
    vi.stubGlobal("fetch", async () => new Response(JSON.stringify({ data })));
    expect(await listModels("")).toEqual([
      { id: "a", isDemo: true, context: 9, status: "loading" },
      { id: "b", isDemo: false, context: 0, status: "loaded" },
    ]);
  });
});
