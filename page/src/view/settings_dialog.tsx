// Settings of the conversation that is open, and those of this browser.
import { useEffect, useState } from "preact/hooks";
import { changeSettings, current, key, models, refreshModels, setKey, setTheme, theme } from "../state";
import type { Theme } from "../store/preferences";
import { EXAMPLE, parseFunctions } from "../talk/functions";
import { parseNumber, RANGES } from "../talk/settings";
import { Dialog } from "./dialog";
import { EffortSelect } from "./effort_select";

export function SettingsDialog({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  return (
    <Dialog title="Settings" isOpen={isOpen} close={close}>
      <section aria-label="This conversation">
        <h3>This conversation</h3>
        <p class="hint">New conversations begin with the same.</p>
        <div class="fields">
          <ModelSelect />
          <EffortSelect isLabelShown />
          <NumberField name="temperature" label="Temperature" />
          <NumberField name="topP" label="Top p" />
          <NumberField name="maxTokens" label="Most tokens" />
          <NumberField name="seed" label="Seed" />
        </div>
        <label class="field">
          <span>Instructions</span>
          <textarea rows={3} value={current.value.settings.instructions} placeholder="How the model should answer" onInput={(event) => changeSettings({ instructions: event.currentTarget.value })} />
        </label>
        <FunctionsField />
        <label class="check">
          <input type="checkbox" checked={current.value.settings.hasProbabilities} onChange={(event) => changeSettings({ hasProbabilities: event.currentTarget.checked })} />
          <span>Show how likely each token of an answer was</span>
        </label>
      </section>
      <section aria-label="This browser">
        <h3>This browser</h3>
        <ThemeSelect />
        <KeyField />
      </section>
    </Dialog>
  );
}

/** What the server's words for where a model is mean here. */
const STATUS: Record<string, string> = { unloaded: "not loaded", failed: "cannot be loaded" };

function ModelSelect() {
  useEffect(() => void refreshModels(false), []);
  const chosen = current.value.settings.model;
  const isGone = chosen !== "" && !models.value.some(({ id }) => id === chosen);
  return (
    <label class="field">
      <span>Model</span>
      <select value={chosen} onChange={(event) => changeSettings({ model: event.currentTarget.value })}>
        <option value="">The served one</option>
        {isGone && <option value={chosen}>{chosen} (not served)</option>}
        {models.value.map(({ id, status }) => (
          <option key={id} value={id}>
            {id} ({STATUS[status] ?? status})
          </option>
        ))}
      </select>
    </label>
  );
}

function NumberField({ name, label }: { name: keyof typeof RANGES; label: string }) {
  const range = RANGES[name];
  const [text, setText] = useState(String(current.value.settings[name] ?? ""));
  const isWrong = parseNumber(text, range) === undefined;
  const type = (value: string) => {
    setText(value);
    const number = parseNumber(value, range);
    if (number !== undefined) changeSettings({ [name]: number });
  };
  const problem = `${range.isWhole ? "A whole number" : "A number"} from ${range.min} to ${range.max}`;
  return (
    <label class="field">
      <span>{label}</span>
      <input inputMode="decimal" value={text} placeholder="default" aria-invalid={isWrong} aria-describedby={isWrong ? `${name}-problem` : undefined} onInput={(event) => type(event.currentTarget.value)} />
      {isWrong && (
        <span class="problem" id={`${name}-problem`}>
          {problem}
        </span>
      )}
    </label>
  );
}

function FunctionsField() {
  const text = current.value.settings.functions;
  const { tools, problem } = parseFunctions(text);
  return (
    <div class="field">
      <div class="field-head">
        <label for="functions">Functions</label>
        {text.trim() === "" && (
          <button type="button" onClick={() => changeSettings({ functions: EXAMPLE })}>
            Insert an example
          </button>
        )}
      </div>
      <textarea id="functions" class="mono" rows={text.trim() === "" ? 3 : 10} spellcheck={false} value={text} placeholder="A JSON list of functions" aria-invalid={problem !== null} aria-describedby="functions-told" onInput={(event) => changeSettings({ functions: event.currentTarget.value })} />
      <p id="functions-told" class={problem === null ? "hint" : "problem"} aria-live="polite">
        {problem ?? told(tools?.map((tool) => tool.function.name) ?? [])}
      </p>
    </div>
  );
}

function told(names: string[]): string {
  if (names.length === 0) return "The model may call these; you answer each call by hand.";
  return `The model may call ${names.join(", ")}; you answer by hand.`;
}

function ThemeSelect() {
  return (
    <label class="field">
      <span>Colors</span>
      <select value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
        <option value="system">As the system</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

function KeyField() {
  const [text, setText] = useState(key.value.key);
  const [isKept, setKept] = useState(key.value.isKept);
  const keep = (event: Event) => {
    event.preventDefault();
    setKey(text.trim(), isKept);
  };
  const isChanged = text.trim() !== key.value.key || isKept !== key.value.isKept;
  return (
    <form class="field" onSubmit={keep}>
      <label for="key">Key of the server</label>
      <div class="key">
        <input id="key" type="password" autocomplete="off" spellcheck={false} placeholder="none" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit" disabled={!isChanged}>
          Use
        </button>
      </div>
      <label class="check">
        <input type="checkbox" checked={isKept} onChange={(event) => setKept(event.currentTarget.checked)} />
        <span>Keep it in this browser after the tab is closed</span>
      </label>
    </form>
  );
}
