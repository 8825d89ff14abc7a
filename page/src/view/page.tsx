// The whole page: conversations at the side, messages in the middle, and what lies over both.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { beginNew, currentRun, current, keeping, notice, serverFailure, spoken, stop } from "../state";
import { Composer } from "./composer";
import { Header } from "./header";
import { Icon } from "./icons";
import { Messages } from "./messages";
import { SettingsDialog } from "./settings_dialog";
import { ShortcutsDialog } from "./shortcuts_dialog";
import { Sidebar } from "./sidebar";

export type Panel = "none" | "settings" | "shortcuts";

/** Where the list of conversations lies over the page; as in the style sheet. */
const narrow = matchMedia("(max-width: 52rem)");

export function Page() {
  const panel = useSignal<Panel>("none");
  const isListOpen = useSignal(false);
  useEffect(() => {
    const act = (event: KeyboardEvent) => pressed(event, (value) => (panel.value = value), isListOpen);
    addEventListener("keydown", act);
    const widened = () => (isListOpen.value = false);
    narrow.addEventListener("change", widened);
    return () => {
      removeEventListener("keydown", act);
      narrow.removeEventListener("change", widened);
    };
  }, []);
  return (
    <div class="page" data-list={isListOpen.value ? "open" : "closed"}>
      <a class="skip" href="#say" onClick={(event) => (event.preventDefault(), focusOn("say"))}>
        Skip to the message
      </a>
      <Sidebar isOpen={isListOpen} showShortcuts={() => (panel.value = "shortcuts")} />
      <main inert={isListOpen.value}>
        <Header openSettings={() => (panel.value = "settings")} openList={() => (isListOpen.value = true)} />
        <Banners openSettings={() => (panel.value = "settings")} />
        <Messages />
        <Composer openSettings={() => (panel.value = "settings")} />
      </main>
      <Toast />
      <SettingsDialog isOpen={panel.value === "settings"} close={() => (panel.value = "none")} />
      <ShortcutsDialog isOpen={panel.value === "shortcuts"} close={() => (panel.value = "none")} />
      <div class="unseen" role="status" aria-live="polite">
        {spoken}
      </div>
    </div>
  );
}

function focusOn(id: string): void {
  document.getElementById(id)?.focus();
}

function pressed(event: KeyboardEvent, show: (panel: Panel) => void, isListOpen: { value: boolean }): void {
  if (document.querySelector("dialog[open]") !== null) return;
  const hasCommand = event.ctrlKey || event.metaKey;
  const isTyping = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
  const letter = event.key.toLowerCase();
  if (event.key === "Escape" && !event.defaultPrevented) {
    if (isListOpen.value) isListOpen.value = false;
    else if (currentRun.value !== undefined) stop(current.value.id);
    return;
  }
  const act = hasCommand && event.shiftKey && letter === "o" ? () => (beginNew(), focusOn("say"))
    : hasCommand && letter === "k" ? () => ((isListOpen.value = narrow.matches), setTimeout(() => focusOn("search")))
    : hasCommand && event.key === "," ? () => show("settings")
    : !isTyping && !hasCommand && event.key === "/" ? () => focusOn("say")
    : !isTyping && !hasCommand && event.key === "?" ? () => show("shortcuts")
    : null;
  if (act === null) return;
  event.preventDefault();
  act();
}

/** What goes on being wrong until something is done. */
function Banners({ openSettings }: { openSettings: () => void }) {
  const failure = serverFailure.value;
  return (
    <>
      {failure !== null && (
        <div class="banner" role="alert">
          <span>
            {failure.message} {failure.advice}
          </span>
          {failure.kind === "key" && (
            <button type="button" onClick={openSettings}>
              Enter a key
            </button>
          )}
        </div>
      )}
      {keeping.value !== null && (
        <div class="banner" role="alert">
          <span>{keeping.value}</span>
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => (keeping.value = null)}>
            <Icon name="close" />
          </button>
        </div>
      )}
    </>
  );
}

/** What was done, and how to undo it; it stays until it is dismissed or something else is done. */
function Toast() {
  const told = notice.value;
  return (
    <div class="toasts" role="status" aria-live="polite">
      {told !== null && (
        <div class="toast">
          <span>{told.text}</span>
          {told.action !== undefined && (
            <button type="button" onClick={told.action.act}>
              {told.action.label}
            </button>
          )}
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => (notice.value = null)}>
            <Icon name="close" />
          </button>
        </div>
      )}
    </div>
  );
}
