// A block of code: its language, a button that copies it, and its words in color.
import type { VNode } from "preact";
import { CopyButton } from "../view/copy_button";
import { highlight } from "./highlight";

export function Code({ text, language }: { text: string; language: string }): VNode {
  const name = language.trim().split(/\s+/)[0] ?? "";
  return (
    <figure class="code">
      <figcaption>
        <span>{name || "text"}</span>
        <CopyButton text={text} what="code" />
      </figcaption>
      <pre tabIndex={0} aria-label={name ? `Code in ${name}` : "Code"}>
        <code>
          {highlight(text, name).map(({ kind, text }, index) =>
            kind === null ? text : (
              <span key={index} class={`code-${kind}`}>
                {text}
              </span>
            ),
          )}
        </code>
      </pre>
    </figure>
  );
}
