// The official SDK for Node: chat and responses, streamed and not, a call and its result, parsed answers.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const sdk = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const model = process.env.MODEL;
const properties = { a: { type: "number" }, b: { type: "number" } };
const parameters = { type: "object", properties, required: ["a", "b"], additionalProperties: false };
const Sum = z.object({ result: z.number() });
const question = { role: "user", content: "1 + 2?" };

const tools = [{ type: "function", function: { name: "add", parameters } }];
const first = (await sdk.chat.completions.create({ model, messages: [question], tools })).choices[0].message;
assert.deepEqual(JSON.parse(first.tool_calls[0].function.arguments), { a: 1, b: 2 });
const messages = [question, first, { role: "tool", tool_call_id: first.tool_calls[0].id, content: "3" }];
const response_format = zodResponseFormat(Sum, "sum");
// The SDK parses only where every function is strict.
const strict = [{ type: "function", function: { name: "add", parameters, strict: true } }];
const parsed = await sdk.chat.completions.parse({ model, messages, tools: strict, response_format });
assert.equal(parsed.choices[0].message.parsed.result, 3);
const stream = sdk.chat.completions.stream({ model, messages, tools });
assert.equal((await stream.finalChatCompletion()).choices[0].message.content, '{"result": 3}');

const flat = [{ type: "function", name: "add", parameters, strict: false }];
const made = await sdk.responses.create({ model, input: "1 + 2?", tools: flat });
const call = made.output.at(-1);
assert.equal(call.type, "function_call");
const input = [{ type: "function_call_output", call_id: call.call_id, output: "3" }];
const answer = await sdk.responses.parse({
  model, input, previous_response_id: made.id, tools: flat, text: { format: zodTextFormat(Sum, "sum") },
});
assert.equal(answer.output_parsed.result, 3);
let text = "";
const events = await sdk.responses.create({ model, input, previous_response_id: made.id, tools: flat, stream: true });
let last;
for await (const event of events) {
  if (event.type === "response.output_text.delta") text += event.delta;
  last = event;
}
assert.equal(last.type, "response.completed");
assert.equal(text, '{"result": 3}');
assert.equal((await sdk.responses.retrieve(answer.id)).id, answer.id);
assert.equal((await sdk.responses.inputItems.list(made.id)).data.length, 1);
await sdk.responses.delete(made.id);
const models = [];
for await (const entry of sdk.models.list()) models.push(entry.id);
assert.ok(models.includes(model));
const completion = await sdk.completions.create({ model, prompt: "One", max_tokens: 4 });
assert.equal(typeof completion.choices[0].text, "string");
await assert.rejects(sdk.chat.completions.create({ model: "gpt-9", messages: [question] }), OpenAI.NotFoundError);
