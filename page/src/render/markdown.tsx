// Markdown of a model as elements of the page.
//
// What a model writes is never parsed as HTML: the lexer's tokens become virtual elements of the few kinds
// below, and a tag in the text is shown as the text that it is. Pictures are shown as links, so that reading
// an answer asks nothing of another site.
import { Marked, type Token, type Tokens } from "marked";
import { Component, type ComponentChildren, Fragment, type VNode } from "preact";
import { Code } from "./code";
import { Formula } from "./formula";
import { type FormulaToken, formulaExtensions } from "./formula_syntax";

const marked = new Marked({ gfm: true, extensions: formulaExtensions });

/** A text in Markdown. A text that did not change is not read again, nor is a block of it made again. */
export class Markdown extends Component<{ text: string }> {
  shouldComponentUpdate(next: { text: string }): boolean {
    return next.text !== this.props.text;
  }

  render({ text }: { text: string }): VNode {
    const tokens = marked.lexer(text);
    // A definition further down makes links of words further up.
    const definitions = JSON.stringify(tokens.links);
    return (
      <div class="prose">
        {tokens.map((token, index) => (
          <Block key={index} raw={token.raw} definitions={definitions} token={token} />
        ))}
      </div>
    );
  }
}

interface BlockProps {
  raw: string;
  definitions: string;
  token: Token;
}

class Block extends Component<BlockProps> {
  shouldComponentUpdate(next: BlockProps): boolean {
    return next.raw !== this.props.raw || next.definitions !== this.props.definitions;
  }

  render({ token }: BlockProps) {
    return <>{element(token)}</>;
  }
}

function elements(tokens: Token[] | undefined): ComponentChildren {
  return tokens?.map((token, index) => <Fragment key={index}>{element(token)}</Fragment>);
}

function element(token: Token): ComponentChildren {
  switch (token.type) {
    case "paragraph":
      return <p>{elements(token.tokens)}</p>;
    case "heading":
      return <Heading token={token as Tokens.Heading} />;
    case "code":
      return <Code text={(token as Tokens.Code).text} language={(token as Tokens.Code).lang ?? ""} />;
    case "list":
      return <List token={token as Tokens.List} />;
    case "blockquote":
      return <blockquote>{elements(token.tokens)}</blockquote>;
    case "table":
      return <Table token={token as Tokens.Table} />;
    case "hr":
      return <hr />;
    case "br":
      return <br />;
    case "strong":
      return <strong>{elements(token.tokens)}</strong>;
    case "em":
      return <em>{elements(token.tokens)}</em>;
    case "del":
      return <del>{elements(token.tokens)}</del>;
    case "codespan":
      return <code>{(token as Tokens.Codespan).text}</code>;
    case "link":
      return <Link href={(token as Tokens.Link).href}>{elements(withoutPictures(token.tokens))}</Link>;
    case "image":
      return <Link href={(token as Tokens.Image).href}>{(token as Tokens.Image).text || "picture"}</Link>;
    case "formula":
      return <Formula {...(token as unknown as FormulaToken)} />;
    case "checkbox":
      return <input type="checkbox" disabled checked={(token as { checked?: boolean }).checked === true} aria-label="task" />;
    case "escape":
      return (token as Tokens.Escape).text;
    case "text":
      return (token as Tokens.Text).tokens ? elements((token as Tokens.Text).tokens) : decodeEntities((token as Tokens.Text).text);
    case "html":
      return (token as Tokens.HTML).block ? <p class="source">{token.raw.trim()}</p> : token.raw;
    case "space":
    case "def":
      return null;
    default:
      return token.raw;
  }
}

/** Two levels down: the page's own headings stand above those of an answer. */
function Heading({ token }: { token: Tokens.Heading }) {
  const Tag = `h${Math.min(token.depth + 2, 6)}` as "h3" | "h4" | "h5" | "h6";
  return <Tag>{elements(token.tokens)}</Tag>;
}

function List({ token }: { token: Tokens.List }) {
  const items = token.items.map((item, index) => (
    <li key={index} class={item.task ? "task" : undefined}>
      {elements(item.tokens)}
    </li>
  ));
  if (!token.ordered) return <ul>{items}</ul>;
  return <ol start={token.start === "" ? undefined : token.start}>{items}</ol>;
}

function Table({ token }: { token: Tokens.Table }) {
  const align = (index: number) => token.align[index] ?? undefined;
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {token.header.map((cell, index) => (
              <th key={index} scope="col" data-align={align(index)}>
                {elements(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, number) => (
            <tr key={number}>
              {row.map((cell, index) => (
                <td key={index} data-align={align(index)}>
                  {elements(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A picture inside a link is its words: links do not nest. */
function withoutPictures(tokens: Token[] | undefined): Token[] | undefined {
  return tokens?.map((token) => (token.type === "image" ? { type: "escape", raw: token.raw, text: (token as Tokens.Image).text } : token));
}

const SCHEMES = ["http:", "https:", "mailto:"];

function Link({ href, children }: { href: string; children: ComponentChildren }) {
  const address = safeAddress(href);
  if (address === null) return <>{children}</>;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** The address of a link, if following it runs nothing and stays outside this page. */
export function safeAddress(href: string): string | null {
  try {
    const url = new URL(href);
    return SCHEMES.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** Character references as the characters that they name; the lexer leaves them to HTML. */
export function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  });
}
