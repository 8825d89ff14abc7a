// A button that copies a text, and says for a moment that it did.
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icons";

/** How long it says so. Units: milliseconds. */
const SAID_MS = 1500;

type Outcome = "none" | "copied" | "refused";

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [outcome, setOutcome] = useState<Outcome>("none");
  useEffect(() => {
    if (outcome === "none") return;
    const timer = setTimeout(() => setOutcome("none"), SAID_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = () => copyText(text).then((isCopied) => setOutcome(isCopied ? "copied" : "refused"));
  const label = { none: `Copy ${what}`, copied: "Copied", refused: "The browser refused to copy" }[outcome];
  return (
    <button type="button" class="quiet" aria-label={label} title={label} onClick={copy}>
      <Icon name={outcome === "copied" ? "check" : outcome === "refused" ? "close" : "copy"} />
    </button>
  );
}

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Pages that come by plain HTTP from another machine have no clipboard but this. */
function copyBySelection(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}
