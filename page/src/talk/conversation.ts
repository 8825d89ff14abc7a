// A conversation: a tree of messages, of which one path is shown.
//
// Editing or retrying adds a sibling and never removes one, so every version can be gone back to. All
// functions give a new object and leave the old one as it was.
import type { Failure } from "../api/failure";
import { DEFAULTS, type Settings, settingsOf } from "./settings";

export type Role = "user" | "assistant" | "tool";
export type Finish = "stop" | "length" | "tool_calls" | "stopped" | "failed";

export interface Call {
  id: string;
  name: string;
  /** JSON as the model wrote it. */
  arguments: string;
}

/** What an answer took. Times in milliseconds. */
export interface Measure {
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  reasoningTokens: number;
  firstMs: number;
  totalMs: number;
}

export interface TokenProbability {
  token: string;
  logprob: number;
  top: { token: string; logprob: number }[];
}

export interface Message {
  id: string;
  parent: string | null;
  /** Milliseconds since 1970. */
  at: number;
  role: Role;
  text: string;
  reasoning?: string;
  calls?: Call[];
  /** The call that a tool's message answers. */
  callId?: string;
  model?: string;
  /** Absent while it is written. */
  finish?: Finish;
  failure?: Failure;
  warnings?: string[];
  measure?: Measure;
  probabilities?: TokenProbability[];
}

export interface Conversation {
  id: string;
  title: string;
  /** Whether a person gave the title. */
  isNamed: boolean;
  created: number;
  changed: number;
  /** The last message of the path that is shown. */
  leaf: string | null;
  messages: Record<string, Message>;
  settings: Settings;
}

/** Letters of a title that is made of the first message. */
const TITLE_LENGTH = 60;

export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newConversation(settings: Settings = DEFAULTS, now: number = Date.now()): Conversation {
  return {
    id: newId(),
    title: "New conversation",
    isNamed: false,
    created: now,
    changed: now,
    leaf: null,
    messages: {},
    settings: { ...settings },
  };
}

/** The messages that are shown, first to last. */
export function pathOf(conversation: Conversation): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let id = conversation.leaf; id !== null && !seen.has(id); ) {
    const message: Message | undefined = conversation.messages[id];
    if (message === undefined) break;
    seen.add(id);
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

/** With one more message, which ends the path that is shown. */
export function append(conversation: Conversation, message: Message): Conversation {
  const isFirst = message.role === "user" && message.parent === null && !conversation.isNamed;
  return {
    ...conversation,
    title: isFirst ? titleOf(message.text) : conversation.title,
    changed: message.at,
    leaf: message.id,
    messages: { ...conversation.messages, [message.id]: message },
  };
}

export function change(conversation: Conversation, id: string, changes: Partial<Message>): Conversation {
  const message = conversation.messages[id];
  if (message === undefined) return conversation;
  return { ...conversation, messages: { ...conversation.messages, [id]: { ...message, ...changes } } };
}

function titleOf(text: string): string {
  const line = text.trim().split("\n")[0]?.trim() ?? "";
  const letters = [...line];
  return letters.length > TITLE_LENGTH ? `${letters.slice(0, TITLE_LENGTH).join("")}…` : line || "New conversation";
}

/** The versions of each message, by its id: those after the same parent by the same side, oldest first. */
export function versionsOf(conversation: Conversation): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  const byAge = Object.values(conversation.messages).sort((a, b) => a.at - b.at);
  for (const { id, parent, role, callId } of byAge) {
    const place = `${parent ?? ""} ${role} ${callId ?? ""}`;
    groups.set(place, [...(groups.get(place) ?? []), id]);
  }
  return new Map([...groups.values()].flatMap((ids) => ids.map((id) => [id, ids])));
}

/** With the path that goes through `id` and on along the newest messages. */
export function show(conversation: Conversation, id: string): Conversation {
  const newestAfter = new Map<string, Message>();
  for (const message of Object.values(conversation.messages)) {
    const rival = message.parent === null ? undefined : newestAfter.get(message.parent);
    if (message.parent !== null && (rival === undefined || rival.at <= message.at)) newestAfter.set(message.parent, message);
  }
  let leaf = id;
  const seen = new Set<string>();
  for (let next = newestAfter.get(leaf); next !== undefined && !seen.has(next.id); next = newestAfter.get(leaf)) {
    seen.add(next.id);
    leaf = next.id;
  }
  return { ...conversation, leaf };
}

/** The calls that count: those of an answer that broke off have no results, and nothing may follow them. */
export function callsOf(message: Message): Call[] {
  return message.finish === "failed" || message.finish === "stopped" ? [] : (message.calls ?? []);
}

/** The calls at the end of a path that nobody has answered. */
export function openCalls(path: Message[]): Call[] {
  const last = path.findLastIndex((message) => message.role !== "tool");
  const message = path[last];
  if (message?.role !== "assistant" || message.finish === undefined) return [];
  const answered = new Set(path.slice(last + 1).map((answer) => answer.callId));
  return callsOf(message).filter((call) => !answered.has(call.id));
}

/** Whether every word of `query` is in the title or a message. */
export function isFound(conversation: Conversation, query: string): boolean {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = Object.values(conversation.messages).flatMap((message) => [
    message.text,
    message.reasoning ?? "",
    ...(message.calls ?? []).flatMap((call) => [call.name, call.arguments]),
  ]);
  const all = [conversation.title, ...texts].join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

/** A conversation out of stored or imported data; null when it is none. */
export function conversationOf(value: unknown): Conversation | null {
  if (typeof value !== "object" || value === null) return null;
  const from = value as Partial<Conversation>;
  if (typeof from.id !== "string" || typeof from.title !== "string" || typeof from.messages !== "object") return null;
  const messages: Record<string, Message> = {};
  for (const message of Object.values(from.messages ?? {})) {
    const sound = messageOf(message);
    if (sound === null) return null;
    messages[sound.id] = sound;
  }
  const leaf = typeof from.leaf === "string" && messages[from.leaf] !== undefined ? from.leaf : null;
  const now = Date.now();
  return {
    id: from.id,
    title: from.title,
    isNamed: from.isNamed === true,
    created: typeof from.created === "number" ? from.created : now,
    changed: typeof from.changed === "number" ? from.changed : now,
    leaf,
    messages,
    settings: settingsOf(from.settings),
  };
}

const ROLES: readonly unknown[] = ["user", "assistant", "tool"];
const FINISHES: readonly unknown[] = ["stop", "length", "tool_calls", "stopped", "failed"];

function messageOf(value: unknown): Message | null {
  if (typeof value !== "object" || value === null) return null;
  const from = value as Record<string, unknown>;
  if (typeof from.id !== "string" || typeof from.text !== "string" || !ROLES.includes(from.role)) return null;
  const message: Message = {
    id: from.id,
    parent: typeof from.parent === "string" ? from.parent : null,
    at: typeof from.at === "number" ? from.at : 0,
    role: from.role as Role,
    text: from.text,
    // What a closed page was writing is what it had.
    finish: FINISHES.includes(from.finish) ? (from.finish as Finish) : "stopped",
  };
  for (const key of ["reasoning", "callId", "model"] as const) {
    if (typeof from[key] === "string") message[key] = from[key];
  }
  if (listOf(from.warnings, (item) => typeof item === "string")) message.warnings = from.warnings as string[];
  if (listOf(from.calls, (item) => hasTexts(item, ["id", "name", "arguments"]))) message.calls = from.calls as Call[];
  if (hasTexts(from.failure, ["kind", "message", "advice"])) message.failure = from.failure as Failure;
  if (hasNumbers(from.measure)) message.measure = from.measure as Measure;
  const isProbability = (item: unknown) =>
    hasTexts(item, ["token"]) && listOf((item as TokenProbability).top, (other) => hasTexts(other, ["token"]));
  if (listOf(from.probabilities, isProbability)) message.probabilities = from.probabilities as TokenProbability[];
  return message;
}

function listOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem);
}

function hasTexts(value: unknown, keys: string[]): boolean {
  return typeof value === "object" && value !== null && keys.every((key) => typeof (value as Record<string, unknown>)[key] === "string");
}

const MEASURES = ["promptTokens", "cachedTokens", "completionTokens", "reasoningTokens", "firstMs", "totalMs"];

function hasNumbers(value: unknown): boolean {
  return typeof value === "object" && value !== null && MEASURES.every((key) => typeof (value as Record<string, unknown>)[key] === "number");
}
