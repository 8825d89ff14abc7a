// The functions that a person defines as JSON text, and the form of what a call passes.

export interface FunctionTool {
  type: "function";
  function: { name: string; description?: string; parameters?: object; strict?: boolean };
}

export type ParsedFunctions = { tools: FunctionTool[]; problem: null } | { tools: null; problem: string };

/** Functions of one conversation, as the server has it. */
const FUNCTIONS_MAX = 128;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

export const EXAMPLE = `[
  {
    "name": "get_weather",
    "description": "Current weather of a city",
    "parameters": {
      "type": "object",
      "properties": { "city": { "type": "string" } },
      "required": ["city"]
    }
  }
]`;

/** Reads one function or a list, each bare or in OpenAI's form `{"type": "function", "function": {...}}`. */
export function parseFunctions(text: string): ParsedFunctions {
  if (text.trim() === "") return { tools: [], problem: null };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return wrong(`Not JSON: ${(error as Error).message}`);
  }
  const list = Array.isArray(value) ? value : [value];
  if (list.length > FUNCTIONS_MAX) return wrong(`At most ${FUNCTIONS_MAX} functions; these are ${list.length}.`);
  const tools: FunctionTool[] = [];
  for (const [index, entry] of list.entries()) {
    const problem = problemOf(entry, tools);
    if (problem !== null) return wrong(`Function ${index + 1}: ${problem}`);
    tools.push({ type: "function", function: bare(entry) as FunctionTool["function"] });
  }
  return { tools, problem: null };
}

function wrong(problem: string): ParsedFunctions {
  return { tools: null, problem };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bare(entry: unknown): unknown {
  return isObject(entry) && "function" in entry ? entry.function : entry;
}

function problemOf(entry: unknown, before: FunctionTool[]): string | null {
  const definition = bare(entry);
  if (!isObject(definition)) return 'must be an object with a "name".';
  const { name, description, parameters } = definition;
  if (typeof name !== "string" || !NAME.test(name)) {
    return '"name" must be 1 to 64 letters, digits, underscores or dashes.';
  }
  if (before.some((tool) => tool.function.name === name)) return `"${name}" is defined twice.`;
  if (description !== undefined && typeof description !== "string") return '"description" must be text.';
  if (parameters !== undefined && !isObject(parameters)) return '"parameters" must be a JSON Schema object.';
  return null;
}

/** The arguments of a call, indented if they are JSON. */
export function prettyArguments(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
