import { describe, expect, it } from "vitest";
import { fileName, fromJson, toJson, toMarkdown } from "../src/store/export";
import * as talk from "../src/talk/conversation";
import { parseFunctions } from "../src/talk/functions";
import { parseNumber, RANGES, settingsOf } from "../src/talk/settings";

let at = 0;
function message(id: string, parent: string | null, role: talk.Role, more: Partial<talk.Message> = {}): talk.Message {
  return { id, parent, at: at++, role, text: id, finish: "stop", ...more };
}

function made(...messages: talk.Message[]): talk.Conversation {
  return messages.reduce(talk.append, talk.newConversation());
}

const ids = (conversation: talk.Conversation) => talk.pathOf(conversation).map(({ id }) => id);

describe("a conversation", () => {
  it("keeps every version", () => {
    const first = made(message("u1", null, "user"), message("a1", "u1", "assistant"), message("u2", "a1", "user"));
    const edited = talk.append(talk.append(first, message("u1b", null, "user")), message("a1b", "u1b", "assistant"));
    expect(ids(edited)).toEqual(["u1b", "a1b"]);
    expect(talk.versionsOf(edited).get("u1b")).toEqual(["u1", "u1b"]);
    expect(talk.versionsOf(edited).get("a1b")).toEqual(["a1b"]);
    expect(ids(talk.show(edited, "u1"))).toEqual(["u1", "a1", "u2"]);
    expect(ids(talk.show(talk.show(edited, "u1"), "u1b"))).toEqual(["u1b", "a1b"]);
    expect(ids(first)).toEqual(["u1", "a1", "u2"]);
  });

  it("asks for the results of calls that nobody has answered", () => {
    const calls = [
      { id: "c1", name: "f", arguments: "{}" },
      { id: "c2", name: "g", arguments: "{}" },
    ];
    const asked = made(message("u", null, "user"), message("a", "u", "assistant", { calls, finish: "tool_calls" }));
    const open = (conversation: talk.Conversation) => talk.openCalls(talk.pathOf(conversation)).map(({ id }) => id);
    expect(open(asked)).toEqual(["c1", "c2"]);
    const half = talk.append(asked, message("t1", "a", "tool", { callId: "c1" }));
    expect(open(half)).toEqual(["c2"]);
    expect(open(talk.append(half, message("t2", "t1", "tool", { callId: "c2" })))).toEqual([]);
    expect(open(talk.change(asked, "a", { finish: "stopped" }))).toEqual([]);
  });

  it("is named after its first message", () => {
    expect(made(message("u", null, "user", { text: "  Why?\nBecause" })).title).toBe("Why?");
    expect(made(message("u", null, "user", { text: "x".repeat(100) })).title).toBe(`${"x".repeat(60)}…`);
    const named = { ...talk.newConversation(), title: "Mine", isNamed: true };
    expect(talk.append(named, message("u", null, "user")).title).toBe("Mine");
  });

  it("is found by all of its words, in every version", () => {
    const conversation = made(message("u", null, "user", { text: "Blue sky" }), message("a", "u", "assistant", { text: "Rayleigh", reasoning: "light" }));
    for (const query of ["sky", "RAYLEIGH blue", "light", ""]) expect(talk.isFound(conversation, query), query).toBe(true);
    expect(talk.isFound(conversation, "sky green")).toBe(false);
  });

  it("survives circles in what is stored", () => {
    const conversation = made(message("a", "b", "user"), message("b", "a", "assistant"));
    expect(ids(conversation)).toEqual(["a", "b"]);
    expect(ids(talk.show(conversation, "a")).length).toBe(2);
  });
});

describe("files", () => {
  const conversation = made(
    message("u", null, "user", { text: "Sum?" }),
    message("a", "u", "assistant", { text: "", reasoning: "Hm", calls: [{ id: "c", name: "add", arguments: '{"a":1}' }], finish: "tool_calls" }),
    message("t", "a", "tool", { text: "```2```", callId: "c" }),
  );

  it("come back as they went", () => {
    const { conversations } = fromJson(toJson([conversation]), new Set());
    expect(conversations).toEqual([conversation]);
  });

  it("come as copies where the id is taken", () => {
    const { conversations } = fromJson(toJson([conversation, conversation]), new Set([conversation.id]));
    expect(new Set([conversation.id, ...conversations!.map(({ id }) => id)]).size).toBe(3);
  });

  it("say what is wrong with them", () => {
    const check = (text: string, problem: string) => expect(fromJson(text, new Set()).problem).toContain(problem);
    check("no", "not JSON");
    check("[]", "no conversations");
    check("null", "no conversations");
    check('{"format": "gptoss-conversations", "version": 9, "conversations": []}', "version 9");
    check('{"format": "gptoss-conversations", "version": 1, "conversations": [{"id": 3}]}', "Conversation 1");
    check('{"format": "gptoss-conversations", "version": 1, "conversations": [{"id": "a", "title": "b", "messages": {"x": {"id": "x", "role": "root", "text": ""}}}]}', "Conversation 1");
  });

  it("drop what has the wrong type", () => {
    const wrong = { ...conversation, messages: { u: { ...conversation.messages.u, calls: "x", measure: {}, failure: 3, finish: "?" } } };
    const { conversations } = fromJson(toJson([wrong as unknown as talk.Conversation]), new Set());
    expect(conversations![0]!.messages.u).toEqual({ ...conversation.messages.u, finish: "stopped" });
  });

  it("can be read as Markdown", () => {
    const text = toMarkdown(conversation);
    expect(text).toContain("# Sum?\n\n## You\n\nSum?");
    expect(text).toContain('```json\n{\n  "a": 1\n}\n```');
    expect(text).toContain("````\n```2```\n````");
    expect(fileName("What is 27 + 58?", "md")).toBe("what-is-27-58.md");
    expect(fileName("../../??", "md")).toBe("conversation.md");
  });
});

describe("settings", () => {
  it("hold numbers to their ranges", () => {
    expect(parseNumber("", RANGES.temperature)).toBeNull();
    expect(parseNumber("0.7", RANGES.temperature)).toBe(0.7);
    for (const text of ["-1", "2.1", "x", "NaN", "Infinity"]) expect(parseNumber(text, RANGES.temperature), text).toBeUndefined();
    expect(parseNumber("1.5", RANGES.maxTokens)).toBeUndefined();
  });

  it("are the defaults where stored ones are not sound", () => {
    const wrong = { temperature: 9, topP: "1", effort: "max", functions: 3, hasProbabilities: "yes", seed: 4 };
    expect(settingsOf(wrong)).toEqual({ ...settingsOf(null), seed: 4 });
  });
});

describe("functions", () => {
  it("come bare, in OpenAI's form, or alone", () => {
    const names = (text: string) => parseFunctions(text).tools?.map((tool) => tool.function.name);
    expect(names("")).toEqual([]);
    expect(names('[{"name": "a"}, {"type": "function", "function": {"name": "b", "parameters": {}}}]')).toEqual(["a", "b"]);
    expect(names('{"name": "a"}')).toEqual(["a"]);
  });

  it("say what is wrong with them", () => {
    const check = (text: string, problem: string) => expect(parseFunctions(text).problem).toContain(problem);
    check("{", "Not JSON");
    check("[1]", "Function 1");
    check('[{"name": "a"}, {"name": "a b"}]', "Function 2");
    check('[{"name": "a"}, {"name": "a"}]', "twice");
    check('{"name": "a", "parameters": []}', '"parameters"');
    check('{"name": "a", "description": 1}', '"description"');
  });
});
