// Conversations as files: Markdown to read, JSON to take up again.
import { type Conversation, conversationOf, type Message, newId, pathOf } from "../talk/conversation";
import { prettyArguments } from "../talk/functions";

const FORMAT = "gptoss-conversations";
const VERSION = 1;

/** The path that is shown, with reasoning and calls. */
export function toMarkdown(conversation: Conversation): string {
  const parts = [`# ${conversation.title}`];
  const instructions = conversation.settings.instructions.trim();
  if (instructions !== "") parts.push(`## Instructions\n\n${instructions}`);
  for (const message of pathOf(conversation)) parts.push(...partsOf(message));
  return `${parts.join("\n\n")}\n`;
}

function partsOf(message: Message): string[] {
  if (message.role === "user") return [`## You\n\n${message.text}`];
  if (message.role === "tool") return [`## Result\n\n${fenced(message.text, "")}`];
  const parts = ["## Assistant"];
  if (message.reasoning) parts.push(`<details><summary>Reasoning</summary>\n\n${message.reasoning}\n\n</details>`);
  if (message.text !== "") parts.push(message.text);
  for (const call of message.calls ?? []) {
    parts.push(`Call of \`${call.name}\`:\n\n${fenced(prettyArguments(call.arguments), "json")}`);
  }
  if (message.failure) parts.push(`*${message.failure.message}*`);
  return parts;
}

/** Code with a fence longer than any inside it. */
function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

export function toJson(conversations: Conversation[]): string {
  return `${JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1)}\n`;
}

export type Imported = { conversations: Conversation[]; problem: null } | { conversations: null; problem: string };

/** Reads what `toJson` wrote. One whose id is among `taken` comes as a copy with a new id. */
export function fromJson(text: string, taken: ReadonlySet<string>): Imported {
  let file: { format?: unknown; version?: unknown; conversations?: unknown } | null;
  try {
    file = JSON.parse(text);
  } catch {
    return wrong("The file is not JSON. Import a file that this page has exported as JSON.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
    return wrong("The file holds no conversations. Import a file that this page has exported as JSON.");
  }
  if (file.version !== VERSION) return wrong(`The file has version ${file.version}; this page reads version ${VERSION}.`);
  const conversations: Conversation[] = [];
  for (const [index, value] of file.conversations.entries()) {
    const conversation = conversationOf(value);
    if (conversation === null) return wrong(`Conversation ${index + 1} of the file cannot be read; nothing was imported.`);
    const isTaken = taken.has(conversation.id) || conversations.some((other) => other.id === conversation.id);
    conversations.push(isTaken ? { ...conversation, id: newId() } : conversation);
  }
  return { conversations, problem: null };
}

function wrong(problem: string): Imported {
  return { conversations: null, problem };
}

/** A name for a file of this conversation. */
export function fileName(title: string, end: string): string {
  const plain = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  return `${[...plain].slice(0, 60).join("") || "conversation"}.${end}`;
}
