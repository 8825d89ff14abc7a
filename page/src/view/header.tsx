// What is open: the conversation's title, the model, how full its context is.
import { current, isDark, path, served, setTheme } from "../state";
import { fileName, toJson, toMarkdown } from "../store/export";
import { saveFile } from "./files";
import { Icon } from "./icons";

export function Header({ openSettings, openList }: { openSettings: () => void; openList: () => void }) {
  const themeLabel = isDark.value ? "Light colors" : "Dark colors";
  return (
    <header>
      <button type="button" class="quiet only-narrow" aria-label="Conversations" title="Conversations" onClick={openList}>
        <Icon name="menu" />
      </button>
      <h1>{current.value.title}</h1>
      <ContextMeter />
      <ExportButtons />
      <button type="button" class="quiet" aria-label={themeLabel} title={themeLabel} onClick={() => setTheme(isDark.value ? "light" : "dark")}>
        <Icon name={isDark.value ? "sun" : "moon"} />
      </button>
      <button type="button" class="quiet" aria-label="Settings" title="Settings (Ctrl ,)" onClick={openSettings}>
        <Icon name="sliders" />
      </button>
    </header>
  );
}

function ExportButtons() {
  const conversation = current.value;
  if (conversation.leaf === null) return null;
  const markdown = () => saveFile(fileName(conversation.title, "md"), "text/markdown", toMarkdown(conversation));
  const json = () => saveFile(fileName(conversation.title, "json"), "application/json", toJson([conversation]));
  return (
    <details class="menu">
      <summary class="quiet" aria-label="Export" title="Export">
        <Icon name="export" />
      </summary>
      <div onClick={(event) => event.currentTarget.closest("details")?.removeAttribute("open")}>
        <button type="button" onClick={markdown}>
          Export as Markdown
        </button>
        <button type="button" onClick={json}>
          Export as JSON
        </button>
      </div>
    </details>
  );
}

/** Tokens of the conversation after its last answer, beside those that the model can hold. */
function ContextMeter() {
  const measure = path.value.findLast((message) => message.measure !== undefined)?.measure;
  const context = served.value?.context ?? 0;
  const name = served.value?.id ?? "";
  if (measure === undefined || context === 0) return <span class="model only-wide">{name}</span>;
  const used = measure.promptTokens + measure.completionTokens;
  const text = `${used.toLocaleString("en")} of ${context.toLocaleString("en")} tokens`;
  return (
    <span class="model" title={`${text} of context`}>
      <span class="model-name">{name}</span>
      <meter min={0} max={context} high={context * 0.85} value={Math.min(used, context)} aria-label="Context in use">
        {text}
      </meter>
      <span class="only-wide">{text}</span>
    </span>
  );
}
