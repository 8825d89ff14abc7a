// Chat Completions of the server that the page comes from: bodies, streams, and answers folded from chunks.
import {
  type Call,
  callsOf,
  type Conversation,
  type Finish,
  type Measure,
  type Message,
  type TokenProbability,
} from "../talk/conversation";
import { parseFunctions } from "../talk/functions";
import { type Failure, failureInStream, failureOf, failureOfResponse } from "./failure";
import { readEvents } from "./sse";

export interface Model {
  id: string;
  isDemo: boolean;
  /** Tokens of a whole conversation. */
  context: number;
  /** Where it is, in the server's word: loaded, loading, unloaded or failed. */
  status: string;
}

/** Alternatives that are asked for with each token. */
const ALTERNATIVES = 5;

/** The body of the request for the message after `path`. */
export function bodyOf(conversation: Conversation, path: Message[]): object {
  const { settings } = conversation;
  const { tools } = parseFunctions(settings.functions);
  const instructions = settings.instructions.trim();
  const messages: object[] = instructions === "" ? [] : [{ role: "system", content: instructions }];
  for (const message of path) messages.push(...wireOf(message));
  return {
    ...(settings.model !== "" && { model: settings.model }),
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...(settings.effort !== "" && { reasoning_effort: settings.effort }),
    ...(settings.temperature !== null && { temperature: settings.temperature }),
    ...(settings.topP !== null && { top_p: settings.topP }),
    ...(settings.maxTokens !== null && { max_completion_tokens: settings.maxTokens }),
    ...(settings.seed !== null && { seed: settings.seed }),
    ...(tools !== null && tools.length > 0 && { tools }),
    ...(settings.hasProbabilities && { logprobs: true, top_logprobs: ALTERNATIVES }),
  };
}

function wireOf(message: Message): object[] {
  if (message.role === "user") return [{ role: "user", content: message.text }];
  if (message.role === "tool") return [{ role: "tool", tool_call_id: message.callId, content: message.text }];
  const made = callsOf(message);
  if (made.length > 0) {
    const calls = made.map(({ id, name, arguments: text }) => ({
      id,
      type: "function",
      function: { name, arguments: text },
    }));
    const reasoning = message.reasoning ? { reasoning: message.reasoning } : {};
    return [{ role: "assistant", content: message.text || null, ...reasoning, tool_calls: calls }];
  }
  return message.text === "" ? [] : [{ role: "assistant", content: message.text }];
}

/** An answer while it is written. */
export interface Answer {
  text: string;
  reasoning: string;
  calls: Call[];
  finish: Finish | null;
  warnings: string[];
  usage: Omit<Measure, "firstMs" | "totalMs"> | null;
  probabilities: TokenProbability[];
  model: string | null;
  /** Chunks that brought something to read; about as many as tokens. */
  chunks: number;
}

export function emptyAnswer(): Answer {
  return { text: "", reasoning: "", calls: [], finish: null, warnings: [], usage: null, probabilities: [], model: null, chunks: 0 };
}

interface WireLogprob {
  token: string;
  logprob: number;
  top_logprobs?: { token: string; logprob: number }[];
}

interface WireChunk {
  model?: string;
  choices?: {
    delta?: {
      content?: string | null;
      reasoning?: string | null;
      reasoning_content?: string | null;
      tool_calls?: { index?: number; id?: string; function?: { name?: string; arguments?: string } }[];
    };
    logprobs?: { content?: WireLogprob[] | null } | null;
    finish_reason?: string | null;
  }[];
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number };
    completion_tokens_details?: { reasoning_tokens?: number };
  } | null;
  warnings?: string[];
}

/** The answer with what one chunk adds. */
export function fold(answer: Answer, chunk: WireChunk): Answer {
  const next: Answer = { ...answer, model: chunk.model ?? answer.model };
  const choice = chunk.choices?.[0];
  const delta = choice?.delta;
  const reasoning = delta?.reasoning ?? delta?.reasoning_content ?? "";
  next.text += delta?.content ?? "";
  next.reasoning += reasoning;
  if (delta?.content || reasoning || delta?.tool_calls) next.chunks += 1;
  for (const part of delta?.tool_calls ?? []) {
    const calls = next.calls === answer.calls ? [...answer.calls] : next.calls;
    const at = part.index ?? calls.length;
    const call = calls[at] ?? { id: "", name: "", arguments: "" };
    calls[at] = {
      id: part.id ?? call.id,
      name: call.name + (part.function?.name ?? ""),
      arguments: call.arguments + (part.function?.arguments ?? ""),
    };
    next.calls = calls;
  }
  const logprobs = choice?.logprobs?.content ?? [];
  if (logprobs.length > 0) {
    const told = logprobs.map(({ token, logprob, top_logprobs }) => ({ token, logprob, top: top_logprobs ?? [] }));
    next.probabilities = [...answer.probabilities, ...told];
  }
  const finish = choice?.finish_reason;
  if (finish) next.finish = finish === "length" || finish === "tool_calls" ? finish : "stop";
  if (chunk.warnings) next.warnings = [...answer.warnings, ...chunk.warnings];
  if (chunk.usage) {
    next.usage = {
      promptTokens: chunk.usage.prompt_tokens ?? 0,
      cachedTokens: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0,
      completionTokens: chunk.usage.completion_tokens ?? 0,
      reasoningTokens: chunk.usage.completion_tokens_details?.reasoning_tokens ?? 0,
    };
  }
  return next;
}

/** Asks, and calls `tell` with the answer so far after each chunk. Gives what went wrong, or null. */
export async function ask(body: object, key: string, signal: AbortSignal, tell: (answer: Answer) => void): Promise<Failure | null> {
  const response = await post("v1/chat/completions", body, key, signal);
  if (!(response instanceof Response)) return response;
  if (response.body === null) return failureOf("broken", "The server's answer has no body.");
  let answer = emptyAnswer();
  try {
    for await (const data of readEvents(response.body)) {
      if (data === "[DONE]") return null;
      const chunk: unknown = JSON.parse(data);
      const failure = failureInStream(chunk);
      if (failure !== null) return failure;
      answer = fold(answer, chunk as WireChunk);
      tell(answer);
    }
  } catch (error) {
    if (signal.aborted) return null;
    const why = error instanceof SyntaxError ? "An event of the stream is not JSON." : "The connection broke off.";
    return failureOf("broken", why);
  }
  return failureOf("broken", "The stream ended before the answer did.");
}

async function post(path: string, body: object, key: string, signal: AbortSignal): Promise<Response | Failure | null> {
  let response: Response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...authorization(key) },
      body: JSON.stringify(body),
      signal,
    });
  } catch {
    return signal.aborted ? null : failureOf("network", "The server cannot be reached.");
  }
  if (response.ok) return response;
  return failureOfResponse(response.status, await response.text().catch(() => ""), response.headers.get("retry-after"));
}

function authorization(key: string): Record<string, string> {
  return key === "" ? {} : { authorization: `Bearer ${key}` };
}

/** The models there are, or why they are not known. */
export async function listModels(key: string): Promise<Model[] | Failure> {
  let response: Response;
  try {
    response = await fetch("v1/models", { headers: authorization(key) });
  } catch {
    return failureOf("network", "The server cannot be reached.");
  }
  const text = await response.text().catch(() => "");
  if (!response.ok) return failureOfResponse(response.status, text, response.headers.get("retry-after"));
  try {
    const list = JSON.parse(text) as { data: { id: string; demo?: boolean; context_length?: number; status?: { value: string } }[] };
    return list.data.map(({ id, demo, context_length, status }) => ({ id, isDemo: demo === true, context: context_length ?? 0, status: status?.value ?? "loaded" }));
  } catch {
    return failureOf("server", "The list of models cannot be read.");
  }
}
