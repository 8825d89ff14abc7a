// openai-agents for Node: a tool loop of several turns over both APIs, streamed and not.
import assert from "node:assert/strict";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "none", maxRetries: 0 });
const add = tool({
  name: "add", description: "Adds.", parameters: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(a + b),
});
for (const Model of [OpenAIResponsesModel, OpenAIChatCompletionsModel]) {
  const agent = new Agent({ name: "Adder", instructions: "Add.", tools: [add], model: new Model(client, process.env.MODEL) });
  assert.equal((await run(agent, "Add 1, 2 and 4.")).finalOutput, "The sum is 7.");
  const streamed = await run(agent, "Add 1, 2 and 4.", { stream: true });
  let calls = 0;
  for await (const event of streamed) {
    if (event.type === "run_item_stream_event" && event.name === "tool_called") calls += 1;
  }
  await streamed.completed;
  assert.equal(streamed.finalOutput, "The sum is 7.");
  assert.equal(calls, 2);
}
