// Where mathematics stands in Markdown: `$..$`, `\(..\)`, `$$..$$` and `\[..\]`.
import type { TokenizerAndRendererExtension } from "marked";

export interface FormulaToken {
  type: "formula";
  raw: string;
  tex: string;
  isBlock: boolean;
}

// A dollar is a sign of money unless it touches what it encloses and no digit follows.
const INLINE = [/^\$(?![\s$])((?:\\[^\n]|[^\\$\n])+?)(?<!\s)\$(?![\d$])/, /^\\\(([^\n]+?)\\\)/];
const DISPLAY = [/^\$\$([^$]+?)\$\$/, /^\\\[([\s\S]+?)\\\]/];
const BLOCK = DISPLAY.map((pattern) => new RegExp(`^ {0,3}(?:${pattern.source.slice(1)})[ \\t]*(?:\\n|$)`));

function first(patterns: RegExp[], text: string, isBlock: boolean): FormulaToken | undefined {
  for (const pattern of patterns) {
    const match = pattern.exec(text);
    if (match !== null) return { type: "formula", raw: match[0], tex: (match[1] ?? "").trim(), isBlock };
  }
  return undefined;
}

/** For the lexer; the names are those of its kinds, the token's type is `formula` in both. */
export const formulaExtensions: TokenizerAndRendererExtension[] = [
  {
    name: "formula",
    level: "block",
    start: (text) => text.match(/(?:^|\n) {0,3}(?:\$\$|\\\[)/)?.index,
    tokenizer: (text) => first(BLOCK, text, true),
  },
  {
    name: "formulaInline",
    level: "inline",
    start: (text) => text.match(/\$|\\\(|\\\[/)?.index,
    tokenizer: (text) => first(DISPLAY, text, true) ?? first(INLINE, text, false),
  },
];
