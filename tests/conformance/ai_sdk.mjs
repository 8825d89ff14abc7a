// The AI SDK calls a tool and goes on, streamed and not.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({ name: "gptoss", baseURL: process.env.BASE_URL });
const model = provider(process.env.MODEL);
const tools = {
  add: tool({
    description: "Adds.", inputSchema: z.object({ a: z.number(), b: z.number() }),
    execute: async ({ a, b }) => a + b,
  }),
};
const whole = await generateText({ model, tools, prompt: "1 + 2?", stopWhen: stepCountIs(3) });
assert.equal(whole.text, "It is 3.");
assert.equal(whole.reasoningText, "Think.");
const streamed = streamText({ model, tools, prompt: "1 + 2?", stopWhen: stepCountIs(3) });
let text = "";
for await (const part of streamed.textStream) text += part;
assert.equal(text, "It is 3.");
