// The conversations: found by words, opened, renamed, deleted, exported and imported.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { beginNew, conversations, current, importFile, open, remove, rename, runs } from "../state";
import { toJson } from "../store/export";
import { type Conversation, isFound } from "../talk/conversation";
import { pickedText, saveFile } from "./files";
import { Icon } from "./icons";

interface Props {
  isOpen: Signal<boolean>;
  showShortcuts: () => void;
}

export function Sidebar({ isOpen, showShortcuts }: Props) {
  const query = useSignal("");
  const closer = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (isOpen.value) closer.current?.focus();
  }, [isOpen.value]);
  const found = query.value.trim() === "" ? conversations.value : conversations.value.filter((one) => isFound(one, query.value));
  const begin = () => {
    beginNew();
    isOpen.value = false;
    document.getElementById("say")?.focus();
  };
  return (
    <>
      <nav class="sidebar" aria-label="Conversations">
        <div class="sidebar-head">
          <span class="name">gptoss</span>
          <button type="button" ref={closer} class="quiet only-narrow" aria-label="Close the list" onClick={() => (isOpen.value = false)}>
            <Icon name="close" />
          </button>
        </div>
        <button type="button" class="new" title="New conversation (Ctrl Shift O)" onClick={begin}>
          <Icon name="plus" /> New conversation
        </button>
        <label class="search">
          <Icon name="search" />
          <span class="unseen">Search in conversations</span>
          <input id="search" type="search" placeholder="Search" value={query.value} onInput={(event) => (query.value = event.currentTarget.value)} onKeyDown={(event) => searchKey(event, query)} />
        </label>
        <ul class="conversations" onKeyDown={moveFocus}>
          {found.map((conversation) => (
            <Row key={conversation.id} conversation={conversation} opened={() => (isOpen.value = false)} />
          ))}
        </ul>
        {found.length === 0 && <p class="none">{query.value.trim() === "" ? "No conversations yet." : "Nothing found."}</p>}
        <Foot showShortcuts={showShortcuts} />
      </nav>
      <div class="veil" onClick={() => (isOpen.value = false)} />
    </>
  );
}

function searchKey(event: KeyboardEvent, query: Signal<string>): void {
  if (event.key === "Escape" && query.value !== "") {
    event.preventDefault();
    query.value = "";
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    document.querySelector<HTMLElement>(".conversations a")?.focus();
  }
}

/** Arrows go up and down the list. */
function moveFocus(event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined || !(event.target instanceof HTMLAnchorElement)) return;
  event.preventDefault();
  const rows = [...document.querySelectorAll<HTMLElement>(".conversations a")];
  rows[rows.indexOf(event.target) + step]?.focus();
}

function Row({ conversation, opened }: { conversation: Conversation; opened: () => void }) {
  const isRenamed = useSignal(false);
  const { id, title } = conversation;
  const isCurrent = current.value.id === id;
  const isRunning = runs.value[id] !== undefined;
  if (isRenamed.value) return <RenameField conversation={conversation} close={() => (isRenamed.value = false)} />;
  const choose = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(id);
    opened();
  };
  return (
    <li data-current={isCurrent}>
      <a href={`#${id}`} aria-current={isCurrent ? "page" : undefined} onClick={choose} title={title}>
        {title}
        {isRunning && <span class="running" role="img" aria-label="answering" />}
      </a>
      <button type="button" class="quiet" aria-label={`Rename ${title}`} title="Rename" onClick={() => (isRenamed.value = true)}>
        <Icon name="pencil" />
      </button>
      <button type="button" class="quiet" aria-label={`Delete ${title}`} title="Delete" onClick={() => remove(id)}>
        <Icon name="trash" />
      </button>
    </li>
  );
}

function RenameField({ conversation, close }: { conversation: Conversation; close: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  const isDropped = useRef(false);
  useLayoutEffect(() => field.current?.select(), []);
  const keep = () => {
    if (!isDropped.current) rename(conversation.id, field.current?.value ?? "");
    close();
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    isDropped.current = event.key === "Escape";
    field.current?.blur();
  };
  return (
    <li>
      <input ref={field} class="rename" aria-label="Title" defaultValue={conversation.title} onBlur={keep} onKeyDown={pressed} />
    </li>
  );
}

function Foot({ showShortcuts }: { showShortcuts: () => void }) {
  const file = useRef<HTMLInputElement>(null);
  const saveAll = () => saveFile("gptoss-conversations.json", "application/json", toJson(conversations.value));
  const read = async (event: Event) => {
    const text = await pickedText(event);
    if (text !== null) importFile(text);
  };
  return (
    <div class="sidebar-foot">
      <button type="button" onClick={() => file.current?.click()}>
        Import
      </button>
      <button type="button" onClick={saveAll} disabled={conversations.value.length === 0}>
        Export all
      </button>
      <button type="button" onClick={showShortcuts}>
        Keys
      </button>
      <a href="/docs">API</a>
      <input ref={file} type="file" accept="application/json,.json" class="unseen" aria-label="File to import" tabIndex={-1} onChange={read} />
    </div>
  );
}
