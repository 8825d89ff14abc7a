// Where a message is typed, sent and stopped.
import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { current, currentRun, path, say, stop } from "../state";
import { openCalls } from "../talk/conversation";
import { parseFunctions } from "../talk/functions";
import { EffortSelect } from "./effort_select";
import { Icon } from "./icons";
import { sends } from "./keys";

/** What was typed and not sent, by conversation. */
const unsent = new Map<string, string>();

export function Composer({ openSettings }: { openSettings: () => void }) {
  const id = current.value.id;
  const text = useSignal("");
  const field = useRef<HTMLTextAreaElement>(null);
  const isRunning = currentRun.value !== undefined;
  const isWaiting = openCalls(path.value).length > 0;
  useLayoutEffect(() => {
    text.value = unsent.get(id) ?? "";
    // A phone's keyboard would cover what was just opened.
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [id]);
  const wasWaiting = useRef(false);
  useEffect(() => {
    // The form that had the focus is gone.
    if (wasWaiting.current && !isWaiting) field.current?.focus();
    wasWaiting.current = isWaiting;
  }, [isWaiting]);
  useLayoutEffect(() => {
    grow(field.current);
  }, [text.value]);
  const type = (value: string) => {
    text.value = value;
    unsent.set(id, value);
  };
  const send = () => {
    if (text.value.trim() === "" || isRunning || isWaiting) return;
    const said = text.value;
    type("");
    say(said);
  };
  const pressed = (event: KeyboardEvent) => {
    if (sends(event)) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && text.value === "" && !isRunning) {
      const buttons = document.querySelectorAll<HTMLElement>("[data-edit]");
      const last = buttons[buttons.length - 1];
      if (last === undefined) return;
      event.preventDefault();
      last.click();
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    send();
  };
  return (
    <form class="composer" onSubmit={submit}>
      <label class="unseen" for="say">
        Message
      </label>
      <textarea id="say" ref={field} rows={1} value={text.value} disabled={isWaiting} placeholder={isWaiting ? "Answer the call first" : "Message"} enterkeyhint="send" onInput={(event) => type(event.currentTarget.value)} onKeyDown={pressed} />
      <div class="composer-foot">
        <EffortSelect />
        <FunctionsTold openSettings={openSettings} />
        <span class="hint only-wide">Enter sends, Shift Enter breaks the line</span>
        {isRunning ? (
          <button type="button" class="main" title="Stop (Esc)" onClick={() => stop(id)}>
            <Icon name="stop" /> Stop
          </button>
        ) : (
          <button type="submit" class="main" disabled={text.value.trim() === "" || isWaiting}>
            <Icon name="send" /> Send
          </button>
        )}
      </div>
    </form>
  );
}

function grow(field: HTMLTextAreaElement | null): void {
  if (field === null) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function FunctionsTold({ openSettings }: { openSettings: () => void }) {
  const { tools, problem } = parseFunctions(current.value.settings.functions);
  if (problem === null && tools?.length === 0) return null;
  const count = tools?.length ?? 0;
  const text = problem !== null ? "Functions: a mistake" : count === 1 ? "1 function" : `${count} functions`;
  return (
    <button type="button" class={problem === null ? "told" : "told problem"} onClick={openSettings}>
      {text}
    </button>
  );
}
