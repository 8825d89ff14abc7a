// Comments, strings, numbers and keywords of code, whatever its language.
//
// One pattern a family of comments, and one list of words: enough to tell the parts apart at a glance, a
// hundredth of the size of grammars.

export type Kind = "comment" | "string" | "number" | "keyword";

export interface Piece {
  kind: Kind | null;
  text: string;
}

/** Letters of code that are colored; longer code is shown plain. */
const LETTERS_MAX = 50_000;

const WORDS = new Set(
  `abstract and as async await break case catch class const continue def default defer del do elif else end enum
  export extends extern false False finally fn for foreach from func function global go if impl implements import in
  include instanceof interface is lambda let local loop match mod module move mut namespace new nil None not null
  of or override package pass private protected pub public raise ref require return self Self static struct super
  switch then this throw trait true True try type typedef typeof undefined unless unsafe until use using var virtual
  void where while with yield bool char double float int long short string select insert update delete into values
  join on group by order limit create table SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE JOIN ON GROUP BY
  ORDER LIMIT CREATE TABLE AND OR NOT NULL AS`.split(/\s+/),
);

const STRING = String.raw`"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|${"`"}(?:\\.|[^${"`"}\\])*${"`"}`;
const NUMBER = String.raw`\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b`;
const WORD = String.raw`[A-Za-z_]\w*`;

const SLASHES = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;
const HASHES = String.raw`#[^\n]*`;
const DASHES = String.raw`--[^\n]*`;
const TAGS = String.raw`<!--[\s\S]*?(?:-->|$)`;

const COMMENTS: [RegExp, string][] = [
  [/^(?:py|python|rb|ruby|sh|bash|zsh|shell|console|yaml|yml|toml|r|perl|pl|make|makefile|dockerfile|elixir|nix)$/, HASHES],
  [/^(?:sql|lua|haskell|hs|ada|elm)$/, DASHES],
  [/^(?:html|xml|svg|vue|svelte)$/, TAGS],
  [/^(?:php)$/, `${SLASHES}|${HASHES}`],
];
const PLAIN = /^(?:|text|txt|plain|plaintext|markdown|md|diff|output|log)$/;

export function highlight(text: string, language: string): Piece[] {
  const name = language.toLowerCase();
  if (PLAIN.test(name) || text.length > LETTERS_MAX) return [{ kind: null, text }];
  const comment = COMMENTS.find(([languages]) => languages.test(name))?.[1] ?? SLASHES;
  const pattern = new RegExp(`(${comment})|(${STRING})|(${NUMBER})|(${WORD})`, "g");
  const pieces: Piece[] = [];
  let end = 0;
  const plain = (to: number) => {
    if (to > end) pieces.push({ kind: null, text: text.slice(end, to) });
  };
  for (const match of text.matchAll(pattern)) {
    const kind = kindOf(match);
    if (kind === null) continue;
    plain(match.index);
    pieces.push({ kind, text: match[0] });
    end = match.index + match[0].length;
  }
  plain(text.length);
  return pieces;
}

function kindOf([whole, comment, string, number]: RegExpMatchArray): Kind | null {
  if (comment !== undefined) return "comment";
  if (string !== undefined) return "string";
  if (number !== undefined) return "number";
  return WORDS.has(whole) ? "keyword" : null;
}
