// The AI SDK parses a schema.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({ name: "gptoss", baseURL: process.env.BASE_URL, supportsStructuredOutputs: true });
const output = Output.object({ schema: z.object({ result: z.number() }) });
const made = await generateText({ model: provider(process.env.MODEL), output, prompt: "1 + 2?" });
assert.equal(made.output.result, 3);
