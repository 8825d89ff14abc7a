// A formula as MathML, or as its source where it cannot be read.
//
// The library makes its elements one by one (no HTML is parsed, no style attribute written, which the content
// policy would refuse), follows no link and draws no picture, and stops after a number of expansions.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { FormulaToken } from "./formula_syntax";
import { renderTex } from "./tex";

/** Macro expansions of one formula. */
const EXPANSIONS_MAX = 500;
/** Letters of one formula; longer ones are shown as text. */
const LETTERS_MAX = 10_000;
/** Largest size that a formula may ask for. Units: em of the text. */
const SIZE_MAX = 20;

const MATHML = "http://www.w3.org/1998/Math/MathML";

export function Formula({ tex, isBlock, raw }: FormulaToken) {
  const place = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    place.current?.replaceChildren(formulaNode(tex, isBlock) ?? sourceNode(raw));
  }, [tex, isBlock, raw]);
  return <span ref={place} class={isBlock ? "formula wide" : undefined} tabIndex={isBlock ? 0 : undefined} role={isBlock ? "group" : undefined} aria-label={isBlock ? "Formula" : undefined} />;
}

/** The formula's elements; null when it cannot be read. */
export function formulaNode(tex: string, isBlock: boolean): Element | null {
  if (tex.length > LETTERS_MAX) return null;
  let math: Element | null;
  try {
    math = renderTex(tex, {
      displayMode: isBlock,
      throwOnError: true,
      trust: false,
      strict: false,
      maxExpand: EXPANSIONS_MAX,
      maxSize: [SIZE_MAX, SIZE_MAX * 10],
    });
  } catch {
    return null;
  }
  return math !== null && isPlain(math) ? math : null;
}

/** Whether there is nothing but mathematics and styled text inside: no links, pictures or handlers. */
function isPlain(root: Element): boolean {
  return [root, ...root.querySelectorAll("*")].every((element) => {
    const isKnown = element.namespaceURI === MATHML || element.localName === "span";
    const isActive = [...element.attributes].some(({ name }) => name.startsWith("on") || name.endsWith("href") || name === "src");
    return isKnown && element.localName !== "annotation-xml" && !isActive;
  });
}

function sourceNode(raw: string): Element {
  const code = document.createElement("code");
  code.textContent = raw.trim();
  return code;
}
