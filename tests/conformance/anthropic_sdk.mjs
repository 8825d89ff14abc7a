// Anthropic's SDK for Node: a message, a stream and what it adds up to, a call and its result, counting, models, errors.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const sdk = new Anthropic({ baseURL: process.env.BASE_URL.replace(/\/v1$/, ""), authToken: "none", apiKey: null, maxRetries: 0 });
const model = process.env.MODEL;
const properties = { a: { type: "number" }, b: { type: "number" } };
const tools = [{ name: "add", input_schema: { type: "object", properties, required: ["a", "b"] } }];
const thinking = { type: "enabled", budget_tokens: 1024 };
const ask = { model, max_tokens: 4096, tools, thinking };
const question = { role: "user", content: "1 + 2?" };

const first = await sdk.messages.create({ ...ask, messages: [question] });
assert.deepEqual(first.content.map((block) => block.type), ["thinking", "tool_use"]);
assert.equal(first.stop_reason, "tool_use");
assert.deepEqual(first.content[1].input, { a: 1, b: 2 });
const result = { type: "tool_result", tool_use_id: first.content[1].id, content: "3" };
const messages = [question, { role: "assistant", content: first.content }, { role: "user", content: [result] }];

const heard = { text: "", thinking: "" };
const stream = sdk.messages.stream({ ...ask, messages });
stream.on("text", (text) => { heard.text += text; });
stream.on("thinking", (text) => { heard.thinking += text; });
const last = await stream.finalMessage();
assert.equal(last.content.at(-1).text, "It is 3.");
assert.deepEqual(heard, { text: "It is 3.", thinking: last.content[0].thinking });
assert.ok(last.content[0].signature);
assert.equal(last.stop_reason, "end_turn");
const whole = await sdk.messages.create({ ...ask, messages });
assert.deepEqual(whole.content, last.content);

const count = await sdk.messages.countTokens({ model, messages, tools, thinking });
assert.equal(count.input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
const models = [];
for await (const entry of sdk.models.list()) models.push(entry.id);
assert.ok(models.includes(model));
await assert.rejects(sdk.messages.create({ ...ask, model: "claude-9", messages: [question] }), (error) => {
  assert.ok(error instanceof Anthropic.NotFoundError);
  assert.equal(error.error.error.type, "not_found_error");
  assert.equal(error.error.request_id, error.requestID);
  return true;
});
