// What the page shows, as signals, and every action that changes it.
import { computed, signal } from "@preact/signals";
import { type Answer, ask, bodyOf, listModels, type Model } from "./api/chat";
import type { Failure } from "./api/failure";
import { type Database, openDatabase, storageProblem } from "./store/database";
import { fromJson } from "./store/export";
import { readKey, readSettings, readTheme, type Theme, writeKey, writeSettings, writeTheme } from "./store/preferences";
import * as talk from "./talk/conversation";
import type { Conversation, Message } from "./talk/conversation";
import { parseFunctions } from "./talk/functions";
import type { Settings } from "./talk/settings";

/** Between two drawings of an answer that is written. Units: milliseconds. */
const DRAW_MS = 40;
/** Between two looks at whether the model that is waited for is loaded. Units: milliseconds. */
const LOOK_MS = 1000;
/** Between two savings of an answer that is written. Units: milliseconds. */
const SAVE_MS = 2000;

/** An answer that is being written. */
export interface Run {
  messageId: string;
  controller: AbortController;
  begun: number;
  first: number | null;
  chunks: number;
}

export interface Notice {
  text: string;
  action?: { label: string; act: () => void };
}

export const conversations = signal<Conversation[]>([]);
/** A new conversation before its first message; it is not kept. */
export const draft = signal<Conversation>(talk.newConversation(readSettings()));
export const currentId = signal<string | null>(null);
export const current = computed(() => conversations.value.find(({ id }) => id === currentId.value) ?? draft.value);
export const path = computed(() => talk.pathOf(current.value));
export const runs = signal<Record<string, Run>>({});
export const currentRun = computed<Run | undefined>(() => runs.value[current.value.id]);
export const runningId = computed(() => currentRun.value?.messageId);
/** Which messages there are: the same text as long as none is added, however one grows. */
const structure = computed(() => [current.value.id, ...Object.keys(current.value.messages)].join(" "));
export const versions = computed(() => {
  void structure.value;
  return talk.versionsOf(current.peek());
});
export const models = signal<Model[]>([]);
export const served = computed(() => models.value.find(({ id }) => id === current.value.settings.model) ?? models.value[0]);
export const serverFailure = signal<Failure | null>(null);
export const notice = signal<Notice | null>(null);
export const keeping = signal<string | null>(null);
export const theme = signal<Theme>(readTheme());
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const isSystemDark = signal(darkSystem.matches);
darkSystem.addEventListener("change", ({ matches }) => {
  isSystemDark.value = matches;
});
export const isDark = computed(() => theme.value === "dark" || (theme.value === "system" && isSystemDark.value));
export const key = signal(readKey());
/** What is said to people who hear the page. */
export const spoken = signal("");

let database: Database | null = null;
const otherTabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("gptoss");

/** Reads what is kept, and asks the server for its models. */
export async function begin(): Promise<void> {
  addEventListener("hashchange", followAddress);
  void refreshModels();
  try {
    database = await openDatabase();
    await readAll();
  } catch (error) {
    keeping.value = storageProblem(error);
  }
  followAddress();
  if (otherTabs !== null) otherTabs.onmessage = () => void readAll().catch(() => undefined);
}

async function readAll(): Promise<void> {
  if (database === null) return;
  const { conversations: kept, unreadable } = await database.load();
  const isRunning = (id: string) => runs.value[id] !== undefined;
  const mine = conversations.value.filter(({ id }) => isRunning(id));
  conversations.value = sorted([...mine, ...kept.filter(({ id }) => !isRunning(id))]);
  if (unreadable > 0) keeping.value = `${unreadable} kept conversations cannot be read and are not shown.`;
}

function sorted(list: Conversation[]): Conversation[] {
  return [...list].sort((a, b) => b.changed - a.changed);
}

function followAddress(): void {
  const id = location.hash.replace(/^#/, "");
  currentId.value = conversations.value.some((conversation) => conversation.id === id) ? id : null;
}

/** Asks where the models are; whoever looks by the way does not tell of a failure. */
export async function refreshModels(isTold = true): Promise<void> {
  const answer = await listModels(key.value.key);
  if (Array.isArray(answer)) {
    models.value = answer;
    serverFailure.value = null;
  } else if (isTold) {
    serverFailure.value = answer;
  }
}

// What is kept.

function save(conversation: Conversation, isTold = true): void {
  database?.put(conversation).then(
    () => {
      if (isTold) otherTabs?.postMessage(conversation.id);
    },
    (error) => {
      keeping.value = storageProblem(error);
    },
  );
}

function put(conversation: Conversation): void {
  const others = conversations.value.filter(({ id }) => id !== conversation.id);
  conversations.value = sorted([conversation, ...others]);
  if (draft.value.id === conversation.id) draft.value = talk.newConversation(conversation.settings);
}

function putAndSave(conversation: Conversation): void {
  put(conversation);
  save(conversation);
}

function find(id: string): Conversation | undefined {
  return conversations.value.find((conversation) => conversation.id === id);
}

// Conversations.

export function open(id: string | null): void {
  currentId.value = id;
  const address = id === null ? location.pathname : `#${id}`;
  if (location.hash !== (id === null ? "" : address)) history.pushState(null, "", address);
}

export function beginNew(): void {
  draft.value = talk.newConversation(readSettings());
  open(null);
}

export function rename(id: string, title: string): void {
  const conversation = find(id);
  if (conversation !== undefined && title.trim() !== "") putAndSave({ ...conversation, title: title.trim(), isNamed: true });
}

export function remove(id: string): void {
  const found = find(id);
  if (found === undefined) return;
  const run = runs.value[id];
  const conversation = run === undefined ? found : talk.change(found, run.messageId, { finish: "stopped" });
  stop(id);
  conversations.value = conversations.value.filter((other) => other.id !== id);
  if (currentId.value === id) beginNew();
  database?.remove(id).then(
    () => otherTabs?.postMessage(id),
    (error) => {
      keeping.value = storageProblem(error);
    },
  );
  const undo = () => {
    putAndSave(conversation);
    open(id);
    notice.value = null;
  };
  notice.value = { text: `Deleted “${conversation.title}”.`, action: { label: "Undo", act: undo } };
}

export function importFile(text: string): void {
  const { conversations: read, problem } = fromJson(text, new Set(conversations.value.map(({ id }) => id)));
  if (problem !== null) {
    notice.value = { text: problem };
    return;
  }
  for (const conversation of read) putAndSave(conversation);
  notice.value = { text: read.length === 1 ? "Imported 1 conversation." : `Imported ${read.length} conversations.` };
  if (read[0] !== undefined) open(read[0].id);
}

export function changeSettings(changes: Partial<Settings>): void {
  const conversation = current.value;
  const next = { ...conversation, settings: { ...conversation.settings, ...changes } };
  writeSettings(next.settings);
  if (find(conversation.id) === undefined) draft.value = next;
  else putAndSave(next);
}

// Choices.

export function setTheme(value: Theme): void {
  theme.value = value;
  writeTheme(value);
}

export function setKey(value: string, isKept: boolean): void {
  key.value = { key: value, isKept };
  writeKey(value, isKept);
  void refreshModels();
}

// Messages.

function message(role: talk.Role, parent: string | null, text: string): Message {
  return { id: talk.newId(), parent, at: Date.now(), role, text, ...(role !== "assistant" && { finish: "stop" as const }) };
}

/** Says something at the end of the conversation that is shown. */
export function say(text: string): void {
  const conversation = current.value;
  putAndSave(talk.append(conversation, message("user", conversation.leaf, text)));
  open(conversation.id);
  void answer(conversation.id);
}

/** Says `text` in place of an earlier message; what followed that one stays as another version. */
export function edit(id: string, text: string): void {
  const conversation = current.value;
  const before = conversation.messages[id];
  if (before === undefined) return;
  stop(conversation.id);
  putAndSave(talk.append(current.value, message("user", before.parent, text)));
  void answer(conversation.id);
}

/** Another answer in the place of this one. */
export function retry(id: string): void {
  const conversation = current.value;
  const before = conversation.messages[id];
  if (before === undefined) return;
  stop(conversation.id);
  put({ ...current.value, leaf: before.parent });
  void answer(conversation.id);
}

/** Answers a call of a function; after the last one the model goes on. */
export function answerCall(callId: string, result: string): void {
  const conversation = current.value;
  const next = talk.append(conversation, { ...message("tool", conversation.leaf, result), callId });
  putAndSave(next);
  if (talk.openCalls(talk.pathOf(next)).length === 0) void answer(conversation.id);
}

export function showVersion(id: string): void {
  putAndSave(talk.show(current.value, id));
}

export function stop(id: string): void {
  runs.value[id]?.controller.abort();
}

function setRun(id: string, run: Run | null): void {
  const { [id]: _, ...others } = runs.value;
  runs.value = run === null ? others : { ...others, [id]: run };
}

/** Lets the model write the next message of a conversation. */
async function answer(id: string): Promise<void> {
  const conversation = find(id);
  if (conversation === undefined) return;
  const { problem } = parseFunctions(conversation.settings.functions);
  if (problem !== null) notice.value = { text: `The functions are left out: ${problem}` };
  const written = message("assistant", conversation.leaf, "");
  const run: Run = { messageId: written.id, controller: new AbortController(), begun: performance.now(), first: null, chunks: 0 };
  const body = bodyOf(conversation, talk.pathOf(conversation));
  put(talk.append(conversation, written));
  setRun(id, run);
  spoken.value = "The model is answering.";
  const look = () => {
    if (run.first === null) void refreshModels(false);
  };
  look();
  const looks = setInterval(look, LOOK_MS);

  let latest: Answer | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  let saved = performance.now();
  const draw = () => {
    timer = null;
    const now = find(id);
    if (now === undefined || latest === null || runs.value[id]?.messageId !== written.id) return;
    const next = talk.change(now, written.id, partsOf(latest));
    put(next);
    setRun(id, { ...run, chunks: latest.chunks });
    if (performance.now() - saved > SAVE_MS) {
      saved = performance.now();
      save(next, false);
    }
  };
  const failure = await ask(body, key.value.key, run.controller.signal, (answer) => {
    if (answer.chunks > 0) run.first ??= performance.now();
    latest = answer;
    timer ??= setTimeout(draw, DRAW_MS);
  });
  if (timer !== null) clearTimeout(timer);
  clearInterval(looks);
  void refreshModels(false);
  end(id, run, latest, failure);
}

function partsOf(answer: Answer): Partial<Message> {
  return {
    text: answer.text,
    ...(answer.reasoning !== "" && { reasoning: answer.reasoning }),
    ...(answer.calls.length > 0 && { calls: answer.calls }),
    ...(answer.probabilities.length > 0 && { probabilities: answer.probabilities }),
    ...(answer.warnings.length > 0 && { warnings: answer.warnings }),
    ...(answer.model !== null && { model: answer.model }),
  };
}

function end(id: string, run: Run, last: Answer | null, failure: Failure | null): void {
  // A retry may have begun another answer of this conversation.
  if (runs.value[id]?.messageId === run.messageId) setRun(id, null);
  const conversation = find(id);
  if (conversation === undefined) return;
  const now = performance.now();
  const isStopped = failure === null && run.controller.signal.aborted && (last === null || last.finish === null);
  const changes: Partial<Message> = {
    ...(last !== null && partsOf(last)),
    finish: failure !== null ? "failed" : isStopped ? "stopped" : (last?.finish ?? "stop"),
    ...(failure !== null && { failure }),
    ...(last?.usage && {
      measure: { ...last.usage, firstMs: (run.first ?? now) - run.begun, totalMs: now - run.begun },
    }),
  };
  const next = talk.change(conversation, run.messageId, changes);
  putAndSave(next);
  spoken.value = spokenOf(next.messages[run.messageId]);
  if (failure?.kind === "key") serverFailure.value = failure;
}

/** Letters of an answer that are read out; the rest can be read in the list of messages. */
const SPOKEN_LENGTH = 1500;

function spokenOf(message: Message | undefined): string {
  if (message === undefined) return "";
  if (message.failure) return `${message.failure.message} ${message.failure.advice}`;
  if (message.finish === "stopped") return "Stopped.";
  const calls = (message.calls ?? []).map((call) => `The model calls the function ${call.name}; its result is asked for.`);
  return [message.text.slice(0, SPOKEN_LENGTH), ...calls].join(" ").trim();
}
